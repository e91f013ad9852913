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
* every decoding sequence is in every iteration, so that `DecodeBatch` need not count for each;
* iterations in a row that only decode, for the same sequences, end when their `Stretch` says,
  whether each is begun and finished or many are skipped.

Two simplifications: a sequence takes the blocks of all its tokens when admitted, not chunk by
chunk, and only prompts enter the prefix cache, not what was generated.
"""

from collections.abc import Collection, Hashable

from weir.domain.profile import EngineProfile
from weir.engine.batch import DecodeBatch
from weir.engine.iteration import Iteration, Outcome
from weir.engine.placing import Placing
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
        self.preemptions = 0
        self.prefill_tokens = 0
        """Computed by the iterations that have ended."""
        self.prefill_iterations = 0
        """Those of them that had any."""
        self.decode_tokens = 0
        """Of sequences that decoded in the iterations that have ended."""
        self.iteration: Iteration | None = None
        """The iteration in progress."""
        self._max_batched_tokens = profile.max_batched_tokens
        self._max_running = min(profile.max_sequences, profile.max_batched_tokens)
        self._chunked = profile.chunked_prefill
        self._sequences: dict[Hashable, Sequence] = {}
        self._waiting = WaitingQueue()
        self._placing = Placing(profile)
        self.kv = self._placing.kv
        self._partial: Sequence | None = None
        self._joining = 0
        self._batch = DecodeBatch(profile.block_tokens)
        self._timing = IterationTiming(profile)
        self._stretch = Stretch()

    @property
    def kv_total_tokens(self) -> int:
        """What the KV space holds: most tokens (prompt + output - 1) a sequence can have."""
        return self._placing.most_tokens

    @property
    def decoding(self) -> Collection[Sequence]:
        """Sequences past their prefill, oldest admission first. A live view."""
        return self._batch.members.values()

    @property
    def running(self) -> int:
        return len(self._batch.members) + self._joining + (self._partial is not None)

    @property
    def has_place(self) -> bool:
        """Whether one more sequence may run, if there is KV space for it."""
        return self.running < self._max_running

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
        return self.kv.used_blocks * self.profile.block_tokens

    @property
    def prefix_queried_tokens(self) -> int:
        """Prompt tokens looked up in the prefix cache on first admission."""
        return self._placing.prefix_queried_tokens

    @property
    def prefix_hit_tokens(self) -> int:
        return self._placing.prefix_hit_tokens

    def submit(self, request: Request, now_s: float) -> Refusal | None:
        """Queue a request; a refusal (and no effect) if it could never run.

        Raises `ValueError` if a request of this id is here.
        """
        if request.id in self._sequences:
            raise ValueError(f"request {request.id} is already here")
        placing = self._placing
        refusal = placing.refusal(request)
        if refusal is not None:
            return refusal
        hashes = placing.hashes(request) if request.block_hashes else ()
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
        self._placing.free(sequence)
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
        entered = batch.entering[batch.step % batch.block_tokens]
        preempted = self._make_room() if entered and not self.kv.take(entered) else []
        sequences = len(batch.members)
        iteration = Iteration(now_s, sequences, batch.anchors + sequences * batch.step, preempted)
        budget = self._max_batched_tokens - sequences
        if self._partial is not None:
            budget = self._continue_prefill(iteration, self._partial, budget)
        if self._waiting.head is not None and not preempted:
            self._admit(iteration, budget)
        if iteration.joining or iteration.prefill_tokens:
            batch.changed = True
            iteration.end_s = now_s + self._timing.iteration_s(
                iteration.prefill_tokens, iteration.sequences, iteration.context_tokens
            )
        elif sequences:
            stretch = self._stretch
            if batch.changed or stretch.until_s != now_s or stretch.count >= stretch.most:
                self._begin_stretch(iteration)
            iteration.end_s = stretch.advance(1)
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
        if iteration.prefill_tokens:
            self.prefill_tokens += iteration.prefill_tokens
            self.prefill_iterations += 1
        self.decode_tokens += iteration.sequences
        batch = self._batch
        emitted = len(batch.members)
        finished: list[Sequence] = []
        if batch.step in batch.finishing:
            finished = batch.finish()
            for sequence in finished:
                self._complete(sequence)
        first: list[Sequence] = []
        if iteration.joining:
            emitted += self._join(iteration, first, finished)
        return Outcome(emitted, first, finished)

    @property
    def iterations(self) -> int:
        """How many have ended."""
        return self._batch.step - (self.iteration is not None)

    def steady_iterations(self) -> int:
        """How many iterations after the one in progress will serve the very same sequences.

        That is if nothing is submitted, aborted or released until then; they differ only in a
        token more for each sequence. 0 when somebody joins, leaves or prefills in this one, and
        after one that preempted somebody, who may find a place at once.
        """
        iteration, batch, stretch = self.iteration, self._batch, self._stretch
        if iteration is None or batch.changed or iteration.preempted:
            return 0
        head = self._waiting.head
        if head is not None and head.submitted_s > iteration.start_s:
            return 0  # it has not been looked at yet; one that has been still finds no place
        steady = batch.steady_steps(self.kv.total_blocks - self.kv.used_blocks)
        known = stretch.most - stretch.count
        return steady if steady <= known else int(known)

    def steady_before(self, now_s: float, steady: int) -> int:
        """How many of the next `steady` iterations have begun before `now_s`."""
        return self._stretch.begun_before(now_s, steady)

    def steady_end_s(self, steady: int) -> float:
        """When the last of the next `steady` iterations ends."""
        stretch = self._stretch
        return stretch.end_s(stretch.count + steady)

    def skip(self, iterations: int) -> None:
        """Let so many steady iterations begin and end; the one in progress is then a later one.

        The same as to `finish` and `begin` them, in one go.
        """
        iteration, batch, stretch = self.iteration, self._batch, self._stretch
        assert iteration is not None
        self.kv.take(batch.blocks_entered(iterations))
        batch.step += iterations
        tokens = iterations * iteration.sequences
        self.decode_tokens += tokens
        iteration.context_tokens += tokens
        iteration.start_s = stretch.end_s(stretch.count + iterations - 1)
        iteration.end_s = stretch.advance(iterations)

    def _begin_stretch(self, iteration: Iteration) -> None:
        course = self._timing.course(iteration.sequences, iteration.context_tokens)
        self._stretch.begin(iteration.start_s, course)
        self._batch.changed = False

    def _make_room(self) -> list[Sequence]:
        """Take the blocks that decoding sequences enter now, from the newest if need be."""
        preempted: list[Sequence] = []
        while not self.kv.take(self._batch.blocks_entered(1)):
            preempted.append(self._preempt_newest())
        return preempted

    def _preempt_newest(self) -> Sequence:
        sequence = self._partial
        if sequence is not None:
            self._partial = None
        else:
            sequence = self._batch.newest()
            self._batch.leave(sequence, in_step=False)
        self._placing.free(sequence)
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
        waiting, place = self._waiting, self._placing.place
        places = self._max_running - self.running
        while budget > 0 and places > 0:
            sequence = waiting.head
            if (
                sequence is None
                or sequence.submitted_s > iteration.start_s
                or not place(sequence, budget, not iteration.prefill_tokens)
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

    def _join(self, iteration: Iteration, first: list[Sequence], finished: list[Sequence]) -> int:
        """Give those that joined and are still here their token; returns how many it were."""
        emitted = 0
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
        return emitted

    def _complete(self, sequence: Sequence) -> None:
        if sequence.request.hold:
            sequence.state = _HELD
            return
        sequence.state = _DONE
        del self._sequences[sequence.id]
        self._placing.free(sequence)
