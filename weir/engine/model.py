"""Continuous batching, one iteration at a time: who runs, on how many tokens, for how long.

The order is that of vLLM's scheduler. Sequences that run come first: each decoding one takes a
token of the iteration's budget, the one whose prefill is under way takes what is left. Then
waiting ones are admitted first come, first served. When a decoding sequence needs a block and
none is free, the newest running one goes back to the head of the queue and later recomputes
its prompt and output; nothing is admitted in such an iteration.

Invariants, after every call:
* blocks in use = blocks of running and held sequences (shared ones once), never above the total;
* a request ends once: refused, finished after exactly its `output_tokens`, or aborted;
* at most one sequence is between two chunks of its prefill, and it is the newest that runs;
* every decoding sequence is in every iteration, so that `DecodeBatch` need not count for each.

Two simplifications: a sequence takes the blocks of all its tokens when admitted, not chunk by
chunk, and only prompts enter the prefix cache, not what was generated.
"""

from collections.abc import Collection, Hashable

from weir.domain.profile import EngineProfile
from weir.engine.batch import DecodeBatch
from weir.engine.iteration import Iteration, Outcome
from weir.engine.kv import KvCache
from weir.engine.queue import WaitingQueue
from weir.engine.request import Refusal, Request, Sequence, SequenceState
from weir.engine.stretch import Stretch
from weir.engine.timing import IterationTiming

__all__ = ["EngineModel"]

_WAITING = SequenceState.WAITING
_PREFILLING = SequenceState.PREFILLING
_DECODING = SequenceState.DECODING
_HELD = SequenceState.HELD
_DONE = SequenceState.DONE


class EngineModel:
    """One engine. Drive it with `submit`, then `begin` and `finish` in turn; time is given."""

    def __init__(self, profile: EngineProfile) -> None:
        self.profile = profile
        self.kv = KvCache(profile.kv_blocks)
        self.preemptions = 0
        self.prefix_queried_tokens = 0
        self.prefix_hit_tokens = 0
        self.iteration: Iteration | None = None
        """The iteration in progress."""
        self._block_tokens = profile.block_tokens
        self._max_batched_tokens = profile.max_batched_tokens
        self._max_running = min(profile.max_sequences, profile.max_batched_tokens)
        self._chunked = profile.chunked_prefill
        self._sequences: dict[Hashable, Sequence] = {}
        self._waiting = WaitingQueue()
        self._partial: Sequence | None = None
        self._joining = 0
        self._batch = DecodeBatch(profile.block_tokens)
        self._timing = IterationTiming(profile)
        self._stretch = Stretch()

    @property
    def kv_total_tokens(self) -> int:
        """What the KV space holds: most tokens (prompt + output - 1) a sequence can have."""
        return self.kv.total_blocks * self._block_tokens

    @property
    def decoding(self) -> Collection[Sequence]:
        """Sequences past their prefill, oldest admission first. A live view."""
        return self._batch.members.values()

    @property
    def running(self) -> int:
        return len(self._batch.members) + self._joining + (self._partial is not None)

    @property
    def waiting(self) -> int:
        return self._waiting.count

    @property
    def pending_tokens(self) -> int:
        """Tokens that waiting and prefilling sequences have yet to compute (cache not counted)."""
        partial = self._partial
        return self._waiting.tokens + (partial.tokens - partial.computed if partial else 0)

    @property
    def held(self) -> int:
        """Finished prefills whose KV waits to be fetched."""
        return len(self._sequences) - self.running - self.waiting

    @property
    def kv_used_tokens(self) -> int:
        return self.kv.used_blocks * self._block_tokens

    def submit(self, request: Request, now_s: float) -> Refusal | None:
        """Queue a request; a refusal (and no effect) if it could never run.

        Raises `ValueError` if a request of this id is here.
        """
        if request.id in self._sequences:
            raise ValueError(f"request {request.id} is already here")
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        hashes = request.block_hashes
        if hashes:
            full_blocks = request.prompt_tokens // self._block_tokens
            hashes = hashes[:full_blocks] if self.profile.prefix_caching else ()
        sequence = Sequence(request, hashes, now_s)
        self._sequences[request.id] = sequence
        self._waiting.append(sequence)
        return None

    def abort(self, request_id: Hashable) -> bool:
        """Drop a request in any state and free its KV; False if it is not here.

        In the middle of an iteration the pass goes on as planned, without its token.
        """
        sequence = self._sequences.pop(request_id, None)
        if sequence is None:
            return False
        state = sequence.state
        if state is _WAITING:
            sequence.state = _DONE
            self._waiting.remove(sequence)
            return True
        if state is _DECODING:
            self._batch.leave(sequence, in_step=self.iteration is not None)
        elif sequence is self._partial:
            self._partial = None
        elif state is _PREFILLING:
            self._joining -= 1
        sequence.state = _DONE
        self._free(sequence)
        return True

    def release(self, request_id: Hashable) -> bool:
        """Free the KV of a finished prefill that was held; False if it is not held."""
        sequence = self._sequences.get(request_id)
        if sequence is None or sequence.state is not _HELD:
            return False
        return self.abort(request_id)

    def begin(self, now_s: float) -> Iteration | None:
        """Plan the next iteration, starting at `now_s`; None when there is nothing to run.

        Requests submitted later than `now_s` are not seen, so a driver that wakes late can
        start it where the last one ended. Raises `RuntimeError` if one is in progress.
        """
        if self.iteration is not None:
            raise RuntimeError("the iteration in progress must be finished first")
        batch = self._batch
        preempted = self._make_room() if batch.members else []
        iteration = Iteration(now_s, len(batch.members), batch.tokens, preempted)
        budget = self._max_batched_tokens - iteration.sequences
        if self._partial is not None:
            budget = self._continue_prefill(iteration, self._partial, budget)
        if self._waiting.count and not preempted:
            self._admit(iteration, budget)
        if iteration.joining or iteration.prefill_tokens:
            batch.changed = True
            iteration.end_s = now_s + self._timing.iteration_s(
                iteration.prefill_tokens, iteration.sequences, iteration.context_tokens
            )
        elif iteration.sequences:
            iteration.end_s = self._extend_stretch(iteration)
        else:
            return None
        batch.step += 1
        self.iteration = iteration
        return iteration

    def finish(self, iteration: Iteration) -> Outcome:
        """End the iteration in progress: every sequence that was in it to its end has a token.

        Raises `RuntimeError` if `iteration` is not the one in progress.
        """
        if iteration is not self.iteration:
            raise RuntimeError("this iteration is not in progress")
        self.iteration = None
        emitted = len(self._batch.members)
        finished = self._batch.finish()
        for sequence in finished:
            self._complete(sequence)
        first: list[Sequence] = []
        for sequence in iteration.joining:
            if sequence.state is not _PREFILLING:
                continue
            emitted += 1
            sequence.tokens += 1
            if sequence.first_token_s is None:
                sequence.first_token_s = iteration.end_s
                first.append(sequence)
            if sequence.tokens == sequence.last_tokens:
                self._complete(sequence)
                finished.append(sequence)
            else:
                self._batch.join(sequence)
        self._joining = 0
        return Outcome(emitted, first, finished)

    @property
    def has_place(self) -> bool:
        """Whether one more sequence could run, were there KV space for it."""
        return self.running < self._max_running

    def steady_iterations(self) -> int:
        """How many iterations after the one in progress will serve the very same sequences.

        That is if nothing is submitted, aborted or released until then; they differ only in a
        token more for each sequence. 0 when somebody joins, leaves or prefills in this one, and
        after one that preempted somebody, who may find a place at once.
        """
        iteration = self.iteration
        if iteration is None or self._batch.changed or iteration.preempted:
            return 0
        head = self._waiting.head
        if head is not None and head.submitted_s > iteration.start_s:
            return 0  # it has not been looked at yet; one that has been still finds no place
        steady = self._batch.steady_steps(self.kv.total_blocks - self.kv.used_blocks)
        return int(min(steady, self._stretch.most - self._stretch.count))

    def skip(self, iterations: int) -> None:
        """Let so many steady iterations begin and end; the one in progress is then a later one.

        The same as to `finish` and `begin` them, in one go.
        """
        iteration = self.iteration
        if iteration is None or not iterations:
            return
        stretch, batch = self._stretch, self._batch
        self.kv.grow(batch.blocks_entered(iterations))
        batch.step += iterations
        iteration.context_tokens += iterations * iteration.sequences
        iteration.start_s = stretch.end_s(stretch.count + iterations - 1)
        iteration.end_s = stretch.advance(iterations)

    def steady_before(self, now_s: float, steady: int) -> int:
        """How many of the next `steady` iterations have begun before `now_s`."""
        return self._stretch.over_before(now_s, steady)

    def steady_end_s(self, steady: int) -> float:
        """When the last of the next `steady` iterations ends."""
        return self._stretch.end_s(self._stretch.count + steady)

    def _refusal(self, request: Request) -> Refusal | None:
        prompt, most = request.prompt_tokens, self._max_batched_tokens
        if not (self._chunked or request.prefilled) and prompt > most:
            return Refusal(needed_tokens=prompt, limit_tokens=most)
        needed = prompt + request.output_tokens - 1
        if needed > self.kv_total_tokens:
            return Refusal(needed_tokens=needed, limit_tokens=self.kv_total_tokens)
        return None

    def _extend_stretch(self, iteration: Iteration) -> float:
        """Begin an iteration that only decodes; returns when it ends."""
        stretch, batch = self._stretch, self._batch
        if batch.changed or stretch.until_s != iteration.start_s or stretch.count >= stretch.most:
            course = self._timing.course(iteration.sequences, iteration.context_tokens)
            stretch.begin(iteration.start_s, course)
            batch.changed = False
        return stretch.advance(1)

    def _make_room(self) -> list[Sequence]:
        """Take the blocks that decoding sequences enter now; returns those preempted for it."""
        kv, batch = self.kv, self._batch
        preempted: list[Sequence] = []
        while (entered := batch.blocks_entered(1)) > kv.total_blocks - kv.used_blocks:
            preempted.append(self._preempt_newest())
        if entered:
            kv.grow(entered)
        return preempted

    def _preempt_newest(self) -> Sequence:
        sequence = self._partial
        if sequence is not None:
            self._partial = None
        else:
            sequence = self._batch.newest()
            self._batch.leave(sequence, in_step=False)
        self._free(sequence)
        sequence.state = _WAITING
        sequence.computed = 0
        sequence.prefilled = False
        sequence.preemptions += 1
        self.preemptions += 1
        self._waiting.put_first(sequence)
        return sequence

    def _continue_prefill(self, iteration: Iteration, sequence: Sequence, budget: int) -> int:
        """Give the sequence whose prefill is under way its next chunk; returns what is left."""
        self._partial = None
        return budget - self._prefill(iteration, sequence, budget)

    def _prefill(self, iteration: Iteration, sequence: Sequence, budget: int) -> int:
        """Put up to `budget` tokens of the sequence into the iteration; returns how many."""
        chunk = sequence.tokens - sequence.computed
        if chunk > budget and self._chunked:
            chunk = budget
        sequence.computed += chunk
        iteration.prefill_tokens += chunk
        if sequence.computed == sequence.tokens:
            iteration.joining.append(sequence)
            self._joining += 1
        else:
            self._partial = sequence
        return chunk

    def _admit(self, iteration: Iteration, budget: int) -> None:
        waiting = self._waiting
        places = self._max_running - self.running
        while budget > 0 and places > 0:
            sequence = waiting.head
            if (
                sequence is None
                or sequence.submitted_s > iteration.start_s
                or not self._place(sequence, budget, alone=not iteration.prefill_tokens)
            ):
                return
            waiting.take()
            places -= 1
            if sequence.prefilled:
                sequence.computed = sequence.tokens
                iteration.sequences += 1
                iteration.context_tokens += sequence.tokens
                iteration.joining.append(sequence)
                self._joining += 1
                budget -= 1
            else:
                budget -= self._prefill(iteration, sequence, budget)

    def _place(self, sequence: Sequence, budget: int, *, alone: bool) -> bool:
        """Take blocks for all tokens of a waiting sequence; False if it has to wait on.

        Without chunked prefill a preempted one may have grown longer than any budget. It goes
        when no other is prefilled in the iteration (`alone`).
        """
        kv, hashes = self.kv, sequence.hashes
        blocks = -(-sequence.tokens // self._block_tokens)
        if not (self._chunked or sequence.prefilled):
            new_tokens = sequence.tokens - self._reused_tokens(sequence, kv.resident(hashes))
            if new_tokens > budget and not (alone and new_tokens > self._max_batched_tokens):
                return False
        if blocks - len(hashes) > kv.total_blocks - kv.used_blocks:
            return False
        hits = kv.acquire(hashes, blocks)
        if hits is None:
            return False
        sequence.blocks = blocks
        sequence.state = _PREFILLING
        if not sequence.prefilled:
            self._reuse(sequence, self._reused_tokens(sequence, hits) if hits else 0)
        return True

    def _reused_tokens(self, sequence: Sequence, hits: int) -> int:
        """Tokens found in whole blocks of the cache; at least one is always computed anew."""
        block_tokens = self._block_tokens
        return min(hits, (sequence.tokens - 1) // block_tokens) * block_tokens

    def _reuse(self, sequence: Sequence, reused_tokens: int) -> None:
        sequence.computed = reused_tokens
        if not sequence.preemptions:
            sequence.cached_tokens = reused_tokens
            if self.profile.prefix_caching:
                self.prefix_queried_tokens += sequence.tokens
                self.prefix_hit_tokens += reused_tokens

    def _complete(self, sequence: Sequence) -> None:
        if sequence.request.hold:
            sequence.state = _HELD
            return
        sequence.state = _DONE
        del self._sequences[sequence.id]
        self._free(sequence)

    def _free(self, sequence: Sequence) -> None:
        """Give back its blocks; computed prompt blocks stay in the cache."""
        computed_blocks = sequence.computed // self._block_tokens
        self.kv.release(sequence.hashes, sequence.blocks, computed_blocks)
