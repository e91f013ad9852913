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

from collections.abc import Collection

from weir.domain.profile import EngineProfile
from weir.engine.batch import DecodeBatch
from weir.engine.iteration import Iteration, Outcome
from weir.engine.kv import KvCache
from weir.engine.queue import WaitingQueue
from weir.engine.request import Refusal, Request, Sequence, SequenceState

__all__ = ["EngineModel"]


class EngineModel:
    """One engine. Drive it with `submit`, then `begin` and `finish` in turn; time is given."""

    def __init__(self, profile: EngineProfile) -> None:
        self.profile = profile
        self.kv = KvCache(profile.kv_blocks)
        self.preemptions = 0
        self.prefix_queried_tokens = 0
        self.prefix_hit_tokens = 0
        self._max_running = min(profile.max_sequences, profile.max_batched_tokens)
        self._sequences: dict[str, Sequence] = {}
        self._waiting = WaitingQueue()
        self._partial: Sequence | None = None
        self._joining = 0
        self._batch = DecodeBatch(profile.block_tokens)
        self._iteration: Iteration | None = None

    @property
    def kv_total_tokens(self) -> int:
        """What the KV space holds: most tokens (prompt + output - 1) a sequence can have."""
        return self.kv.total_blocks * self.profile.block_tokens

    @property
    def decoding(self) -> Collection[Sequence]:
        """Sequences past their prefill, oldest admission first. A live view."""
        return self._batch.members.values()

    @property
    def running(self) -> int:
        return len(self._batch) + self._joining + (self._partial is not None)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

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
        return self.kv.used_blocks * self.profile.block_tokens

    @property
    def iteration(self) -> Iteration | None:
        """The iteration in progress."""
        return self._iteration

    def submit(self, request: Request, now_s: float) -> Refusal | None:
        """Queue a request; a refusal (and no effect) if it could never run.

        Raises `ValueError` if a request of this id is here.
        """
        if request.id in self._sequences:
            raise ValueError(f"request {request.id} is already here")
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        hashes: tuple[int, ...] = ()
        if self.profile.prefix_caching:
            hashes = request.block_hashes[: request.prompt_tokens // self.profile.block_tokens]
        sequence = Sequence(request, hashes, now_s)
        self._sequences[request.id] = sequence
        self._waiting.append(sequence)
        return None

    def abort(self, request_id: str) -> bool:
        """Drop a request in any state and free its KV; False if it is not here.

        In the middle of an iteration the pass goes on as planned, without its token.
        """
        sequence = self._sequences.get(request_id)
        if sequence is None:
            return False
        state = sequence.state
        if state is SequenceState.WAITING:
            self._waiting.remove(sequence)
        elif state is SequenceState.DECODING:
            self._batch.leave(sequence, in_step=self._iteration is not None)
        elif sequence is self._partial:
            self._partial = None
        elif state is SequenceState.PREFILLING:
            self._joining -= 1
        self._free(sequence, SequenceState.DONE)
        del self._sequences[request_id]
        return True

    def release(self, request_id: str) -> bool:
        """Free the KV of a finished prefill that was held; False if it is not held."""
        sequence = self._sequences.get(request_id)
        if sequence is None or sequence.state is not SequenceState.HELD:
            return False
        return self.abort(request_id)

    def begin(self, now_s: float) -> Iteration | None:
        """Plan the next iteration, starting at `now_s`; None when there is nothing to run.

        Requests submitted later than `now_s` are not seen, so a driver that wakes late can
        start it where the last one ended. Raises `RuntimeError` if one is in progress.
        """
        if self._iteration is not None:
            raise RuntimeError("the iteration in progress must be finished first")
        preempted = self._make_room()
        batch = self._batch
        iteration = Iteration(
            start_s=now_s,
            duration_s=0.0,
            prefill_tokens=0,
            sequences=len(batch),
            context_tokens=batch.tokens,
            preempted=preempted,
        )
        budget = self._continue_prefill(iteration, self.profile.max_batched_tokens - len(batch))
        if not preempted:
            self._admit(iteration, budget)
        if not iteration.sequences and not iteration.prefill_tokens:
            return None
        batch.step += 1
        iteration.duration_s = self.profile.iteration_s(
            prefill_tokens=iteration.prefill_tokens,
            sequences=iteration.sequences,
            kv_used_tokens=iteration.context_tokens,
        )
        self._iteration = iteration
        return iteration

    def finish(self, iteration: Iteration) -> Outcome:
        """End the iteration in progress: every sequence that was in it to its end has a token.

        Raises `RuntimeError` if `iteration` is not the one in progress.
        """
        if iteration is not self._iteration:
            raise RuntimeError("this iteration is not in progress")
        self._iteration = None
        emitted = len(self._batch)
        finished = self._batch.last_tokens()
        for sequence in finished:
            self._batch.leave(sequence, in_step=False)
            self._complete(sequence)
        first = []
        for sequence in iteration.joining:
            if sequence.state is not SequenceState.PREFILLING:
                continue
            emitted += 1
            sequence.emitted += 1
            if sequence.first_token_s is None:
                sequence.first_token_s = iteration.end_s
                first.append(sequence)
            if sequence.emitted == sequence.request.output_tokens:
                self._complete(sequence)
                finished.append(sequence)
            else:
                self._batch.join(sequence)
        self._joining = 0
        return Outcome(emitted=emitted, first=first, finished=finished)

    def repeats(self) -> int:
        """How many iterations after the one in progress will serve the very same sequences.

        That is if nothing is submitted, aborted or released until then; they differ only in a
        token more for each sequence. 0 when somebody joins, leaves or prefills in this one.
        """
        iteration = self._iteration
        if iteration is None or iteration.prefill_tokens or iteration.joining:
            return 0
        head = self._waiting.head
        if head is not None and head.submitted_s > iteration.start_s:
            return 0  # it has not been looked at yet; one that has been still finds no place
        return self._batch.steady_steps(self.kv.free_blocks)

    def _refusal(self, request: Request) -> Refusal | None:
        prompt, most = request.prompt_tokens, self.profile.max_batched_tokens
        if not (self.profile.chunked_prefill or request.prefilled) and prompt > most:
            return Refusal(needed_tokens=prompt, limit_tokens=most)
        needed = prompt + request.output_tokens - 1
        if needed > self.kv_total_tokens:
            return Refusal(needed_tokens=needed, limit_tokens=self.kv_total_tokens)
        return None

    def _make_room(self) -> list[Sequence]:
        """Take the blocks that decoding sequences enter now; returns those preempted for it."""
        preempted: list[Sequence] = []
        while self._batch.blocks_entered > self.kv.free_blocks:
            preempted.append(self._preempt_newest())
        self.kv.grow(self._batch.blocks_entered)
        return preempted

    def _preempt_newest(self) -> Sequence:
        sequence = self._partial
        if sequence is not None:
            self._partial = None
        else:
            sequence = self._batch.newest()
            self._batch.leave(sequence, in_step=False)
        self._free(sequence, SequenceState.WAITING)
        sequence.computed = 0
        sequence.prefilled = False
        sequence.preemptions += 1
        self.preemptions += 1
        self._waiting.put_first(sequence)
        return sequence

    def _continue_prefill(self, iteration: Iteration, budget: int) -> int:
        """Give the sequence whose prefill is under way its next chunk; returns what is left."""
        sequence = self._partial
        if sequence is None:
            return budget
        self._partial = None
        return budget - self._prefill(iteration, sequence, budget)

    def _prefill(self, iteration: Iteration, sequence: Sequence, budget: int) -> int:
        """Put up to `budget` tokens of the sequence into the iteration; returns how many."""
        chunk = sequence.tokens - sequence.computed
        if self.profile.chunked_prefill:
            chunk = min(budget, chunk)
        sequence.computed += chunk
        iteration.prefill_tokens += chunk
        if sequence.computed == sequence.tokens:
            iteration.joining.append(sequence)
            self._joining += 1
        else:
            self._partial = sequence
        return chunk

    def _admit(self, iteration: Iteration, budget: int) -> None:
        while budget > 0 and self.running < self._max_running:
            sequence = self._waiting.head
            if (
                sequence is None
                or sequence.submitted_s > iteration.start_s
                or not self._place(sequence, budget, alone=not iteration.prefill_tokens)
            ):
                return
            self._waiting.remove(sequence)
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
        block_tokens = self.profile.block_tokens
        blocks = -(-sequence.tokens // block_tokens)
        if not (self.profile.chunked_prefill or sequence.prefilled):
            hits = self.kv.resident(sequence.hashes)
            new_tokens = sequence.tokens - self._reused_tokens(sequence, hits)
            if new_tokens > budget and not (alone and new_tokens > self.profile.max_batched_tokens):
                return False
        if blocks - len(sequence.hashes) > self.kv.free_blocks:
            return False
        hits_taken = self.kv.acquire(sequence.hashes, blocks)
        if hits_taken is None:
            return False
        sequence.blocks = blocks
        sequence.state = SequenceState.PREFILLING
        if not sequence.prefilled:
            self._reuse(sequence, self._reused_tokens(sequence, hits_taken))
        return True

    def _reused_tokens(self, sequence: Sequence, hits: int) -> int:
        """Tokens found in whole blocks of the cache; at least one is always computed anew."""
        block_tokens = self.profile.block_tokens
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
            sequence.state = SequenceState.HELD
            return
        self._free(sequence, SequenceState.DONE)
        del self._sequences[sequence.id]

    def _free(self, sequence: Sequence, state: SequenceState) -> None:
        """Give back its blocks, if it has any; computed prompt blocks stay in the cache."""
        if sequence.state is not SequenceState.WAITING:
            computed_blocks = sequence.computed // self.profile.block_tokens
            self.kv.release(sequence.hashes, sequence.blocks, computed_blocks)
        sequence.state = state
