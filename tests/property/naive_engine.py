"""The rules of continuous batching written down plainly, a token at a time, to compare with.

No prefix cache. Each sequence counts its own tokens and blocks, and each pass takes its time;
nothing is derived.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field

from weir.domain.profile import EngineProfile
from weir.engine.request import Request

__all__ = ["NaiveEngine", "Pass"]


@dataclass
class _Sequence:
    request: Request
    emitted: int = 0
    computed: int = 0
    blocks: int = 0
    arrived: bool = False
    decoding: bool = False

    @property
    def tokens(self) -> int:
        return self.request.prompt_tokens + self.emitted


@dataclass
class Pass:
    prefill_tokens: int = 0
    sequences: int = 0
    context_tokens: int = 0
    preempted: list[Hashable] = field(default_factory=list)
    finished: set[Hashable] = field(default_factory=set)


class NaiveEngine:
    def __init__(self, profile: EngineProfile) -> None:
        self.profile = profile
        self.waiting: list[_Sequence] = []
        self.running: list[_Sequence] = []
        self.held: dict[Hashable, int] = {}
        self.now_s = 0.0

    def submit(self, request: Request) -> None:
        self.waiting.append(_Sequence(request, arrived=request.prefilled))

    def abort(self, id: str) -> None:
        self.waiting = [each for each in self.waiting if each.request.id != id]
        self.running = [each for each in self.running if each.request.id != id]
        self.held.pop(id, None)

    @property
    def used_blocks(self) -> int:
        return sum(each.blocks for each in self.running) + sum(self.held.values())

    def step(self) -> Pass | None:
        """One whole pass; None if there is nothing to run."""
        this, budget = Pass(), self.profile.max_batched_tokens
        scheduled = self._schedule_running(this)
        budget -= this.sequences
        for each in scheduled:
            if not each.decoding:
                budget -= self._prefill(this, each, budget)
        while self.waiting and not this.preempted and self._admit(this, scheduled, budget):
            budget = self.profile.max_batched_tokens - this.sequences - this.prefill_tokens
        if not scheduled:
            return None
        self._emit(this, scheduled)
        self.now_s += self.profile.iteration_s(
            prefill_tokens=this.prefill_tokens,
            sequences=this.sequences,
            kv_used_tokens=this.context_tokens,
        )
        return this

    def _schedule_running(self, this: Pass) -> list[_Sequence]:
        scheduled: list[_Sequence] = []
        queue = list(self.running)
        while queue:
            each = queue.pop(0)
            needed = self._blocks(each.tokens) if each.decoding else each.blocks
            while self.used_blocks + needed - each.blocks > self.profile.kv_blocks:
                victim = self.running.pop()
                this.preempted.append(victim.request.id)
                self._evict(victim)
                if victim is each:
                    break
                queue.remove(victim)
            else:
                each.blocks = needed
                scheduled.append(each)
                if each.decoding:
                    this.sequences += 1
                    this.context_tokens += each.tokens
                    each.computed = each.tokens
        return scheduled

    def _evict(self, victim: _Sequence) -> None:
        victim.blocks = victim.computed = 0
        victim.arrived = victim.decoding = False
        self.waiting.insert(0, victim)

    def _admit(self, this: Pass, scheduled: list[_Sequence], budget: int) -> bool:
        each, profile = self.waiting[0], self.profile
        most = min(profile.max_sequences, profile.max_batched_tokens)
        blocks = self._blocks(each.tokens)
        if budget <= 0 or len(self.running) >= most:
            return False
        if self.used_blocks + blocks > profile.kv_blocks:
            return False
        # Only a preempted one can be longer than a whole budget: it is prefilled alone.
        fits = each.tokens <= budget
        alone = each.tokens > profile.max_batched_tokens and not this.prefill_tokens
        if not (profile.chunked_prefill or each.arrived or fits or alone):
            return False
        self.running.append(self.waiting.pop(0))
        each.blocks = blocks
        scheduled.append(each)
        if each.arrived:
            each.computed = each.tokens
            this.sequences += 1
            this.context_tokens += each.tokens
        else:
            self._prefill(this, each, budget)
        return True

    def _prefill(self, this: Pass, each: _Sequence, budget: int) -> int:
        chunk = each.tokens - each.computed
        if self.profile.chunked_prefill:
            chunk = min(budget, chunk)
        each.computed += chunk
        this.prefill_tokens += chunk
        return chunk

    def _emit(self, this: Pass, scheduled: list[_Sequence]) -> None:
        for each in scheduled:
            if each.computed < each.tokens:
                continue
            each.emitted += 1
            each.decoding = True
            if each.emitted == each.request.output_tokens:
                self.running.remove(each)
                this.finished.add(each.request.id)
                if each.request.hold:
                    self.held[each.request.id] = each.blocks

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self.profile.block_tokens)
