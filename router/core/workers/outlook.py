"""What is to be expected of a pool's engines: their profile times what is seen of their pace."""

from collections.abc import Callable
from math import ceil, inf, sqrt

from router.core.fading import FadingQuotient
from router.core.workers.pace import Pace
from router.core.workers.predictor import Predictor
from router.core.workers.turnover import Turnover
from router.core.workers.worker import Rank, Worker
from weir.domain.fleet import PoolSpec, Role

__all__ = ["Outlook"]

_TYPICAL_OSL_TOKENS = 256
_DECODE_MARGIN, _AGG_MARGIN = 0.97, 0.875
"""Room ends this far below the ITL target: what is predicted is a mean, and requests differ, the
more so where prompts come between."""
_LEAST_SHARE = 4
"""An aggregated worker may always take one in this many of the sequences its engine can run:
how much prompts will slow its iterations is not known well enough for less."""
_LEFT_BY_LATE = 8
"""One in this many of the sequences that an engine can run: whoever comes in time the next moment
has a place, and need not wait until one ends."""
_PACE_MEMORY = 128.0
_PRIOR_TOKENS = 1024.0


class Outlook:
    """Predictions, ranks and room for workers of one pool; it knows none but those it is asked for.

    `rank` is that of a worker by its load at this moment.
    """

    def __init__(self, spec: PoolSpec) -> None:
        self.spec = spec
        self.decodes = spec.role is not Role.PREFILL
        self.mixes = spec.role is Role.AGG
        self.pace = 1.0
        self.predictor = Predictor(spec.profile)
        self.transfer_s = self.predictor.transfer_s
        self.rank: Callable[[Worker], Rank] = {
            Role.PREFILL: self._prefill_rank,
            Role.DECODE: self._decode_rank,
            Role.AGG: self._agg_rank,
        }[spec.role]
        self._margin = _AGG_MARGIN if self.mixes else _DECODE_MARGIN
        self.computes = self.mixes
        """Its engines compute prompts: always, or since one was sent to a decode worker."""
        self._observed = Pace(_PACE_MEMORY)
        self._prompt_share = FadingQuotient()
        self._prompt_s_per_token = 0.0
        self.turnover = Turnover()

    # --- rank --------------------------------------------------------------------------

    def _prefill_rank(self, worker: Worker) -> Rank:
        return worker.pace * worker.queued_tokens, worker.in_flight, worker.served, 0

    def _decode_rank(self, worker: Worker) -> Rank:
        in_flight, kv_tokens = worker.in_flight, worker.kv_tokens
        load = worker.pace * self._iteration_length(worker) if in_flight else 0.0
        return load, kv_tokens, in_flight, worker.served

    def _agg_rank(self, worker: Worker) -> Rank:
        load = 0.0
        if worker.in_flight:
            length = _TYPICAL_OSL_TOKENS * self._iteration_length(worker)
            length += worker.queued_tokens / self.predictor.prefill_rate
            load = worker.pace * length
        return load, worker.kv_tokens, worker.in_flight, worker.served

    def _iteration_length(self, worker: Worker) -> float:
        """Seconds, infinite where the engine has all the sequences that it can run."""
        predictor, sequences = self.predictor, worker.in_flight
        most = predictor.max_sequences
        if sequences >= most and self._occupied(worker) >= most:
            return inf
        return (
            predictor.no_sequence_s
            + predictor.per_sequence_s * sequences
            + predictor.per_kv_token_s * worker.kv_tokens
        )

    def busy_s(self, worker: Worker) -> float:
        """How much longer one more takes than on an idle worker; infinite if this one is full."""
        predictor = self.predictor
        length = worker.queued_tokens / predictor.prefill_rate
        if self.mixes and worker.in_flight:
            longer_s = self._iteration_length(worker) - predictor.no_sequence_s
            length += _TYPICAL_OSL_TOKENS * longer_s
        return worker.pace * length

    # --- prediction --------------------------------------------------------------------

    def prefill_s(self, worker: Worker, isl_tokens: int) -> float:
        """Seconds until the first token of a prompt that joins `worker`'s queue now."""
        decode_s = worker.ideal.step_s if self.mixes else 0.0
        return worker.pace * self.prompts_s(worker.queued_tokens + isl_tokens, decode_s)

    def crowded_prefill_s(self, worker: Worker, isl_tokens: int, now_s: float) -> float:
        """The same if others follow: a prompt is done when the batch is that it ends in.

        It comes too late for the batch that is running.
        """
        if not worker.queued_tokens:
            return self.prefill_s(worker, isl_tokens)
        predictor = self.predictor
        if self.mixes:
            iterations = -(-(worker.queued_tokens + isl_tokens) // predictor.batch_tokens)
            return worker.pace * iterations * (predictor.batch_s + worker.ideal.step_s)
        running = min(worker.prompts.running_tokens, predictor.batch_tokens)
        left = worker.queued_tokens - running + isl_tokens
        iterations = -(-left // predictor.batch_tokens)
        whole_s = predictor.prefill_s(running) + iterations * predictor.batch_s
        return worker.pace * whole_s - worker.prompts.running_s(now_s)

    def direct_s(self, worker: Worker, new_tokens: int) -> float:
        """Seconds until the first token of a prompt that a decode worker is sent to compute."""
        tokens = worker.direct_tokens + new_tokens
        return worker.pace * self.prompts_s(tokens, worker.ideal.step_s)

    def prompts_s(self, tokens: int, decode_s: float) -> float:
        """At pace 1, where every iteration takes `decode_s` for those that decode."""
        prefill_s = self.predictor.prefill_s(tokens)
        if not decode_s:
            return prefill_s
        iterations = -(-tokens // self.predictor.batch_tokens)
        return prefill_s + iterations * decode_s

    def itl_s(self, worker: Worker, kv_tokens: int) -> float:
        """Seconds per output token once a sequence of `kv_tokens` has joined `worker`."""
        return worker.pace * self._itl_s(worker.in_flight + 1, worker.kv_tokens + kv_tokens)

    def _itl_s(self, sequences: int, kv_tokens: int) -> float:
        """At pace 1, in a steady state: each that ends is followed by one with a prompt."""
        decode_s = self.predictor.decode_s(sequences, kv_tokens)
        return decode_s + self._prompt_s_per_token * sequences

    # --- pace --------------------------------------------------------------------------

    def prompt_s(self, isl_tokens: int) -> float:
        """Seconds that an engine as its profile spends on a prompt."""
        return self.predictor.prefill_s(isl_tokens)

    def observe(self, worker: Worker, ratio: float, weight: float) -> None:
        """A worker took `ratio` times as long for something as its profile says."""
        worker.observed.observe(ratio, weight, self.pace)
        self._observed.observe(ratio, weight, 1.0)
        self.pace = self._observed.given(1.0)
        worker.pace = worker.observed.given(self.pace)

    def served(self, prompt_s: float, osl_tokens: int) -> None:
        """A leg has ended well: so much prefill comes with so much output."""
        self._prompt_share.add(prompt_s, osl_tokens)
        self._prompt_s_per_token = self._prompt_share.mean(0.0, _PRIOR_TOKENS)

    def fade(self, keep: float) -> None:
        """Let what was seen of the pool so far count only this much (0..1)."""
        self._observed.fade(keep)
        self.pace = self._observed.given(1.0)

    # --- room --------------------------------------------------------------------------

    def has_prefill_room(self, worker: Worker, *, yields: bool = False, late: bool = False) -> bool:
        """Less than keeps the engine's batches full is queued there.

        A batch is running and one must be complete when it ends, before word of what it
        finished has come back; behind a longer prompt, while it is in work. More would only queue
        at the engine, from where it cannot move to a worker that appears later, and make those
        late that follow. Who `yields` leaves the second batch to others, who is `late` all but a
        worker without prompts.
        """
        queued_tokens, batch_tokens = worker.queued_tokens, self.predictor.batch_tokens
        if late:
            return not queued_tokens
        if yields:
            return queued_tokens < batch_tokens
        if queued_tokens < 2 * batch_tokens:
            return True
        return queued_tokens - worker.oldest_tokens < batch_tokens or self._is_due_prefill()

    def has_decode_room(
        self, worker: Worker, kv_tokens: int, itl_s: float = inf, *, late: bool = False
    ) -> bool:
        """Fewer are there than the engine can run, and run within `itl_s`.

        An idle worker has room for anybody. Who is `late` leaves a part of it to others.
        """
        if not worker.in_flight:
            return True
        sequences, spare = worker.in_flight, 0
        if late:
            spare = -(-self.predictor.max_sequences // _LEFT_BY_LATE)
            kv_tokens += spare * worker.kv_tokens // sequences
        if self.holds(worker, kv_tokens):
            if self._runs(worker, sequences + spare, kv_tokens, itl_s):
                return True
            fewer = self._occupied(worker)
            if fewer < sequences and self._runs(worker, fewer + spare, kv_tokens, itl_s):
                return True
        return not late and self._is_due_decode()

    def _is_due_prefill(self) -> bool:
        """Whether other routers have taken what this one is due of the pool's queues."""
        return False

    def _is_due_decode(self) -> bool:
        """Whether other routers have taken what this one is due of the pool's sequences."""
        return False

    def has_direct_room(self, worker: Worker) -> bool:
        """Whether fewer than two batches of prompts wait to be computed by a decode worker."""
        return worker.direct_tokens < 2 * self.predictor.batch_tokens

    def spares_room(self, worker: Worker, new_tokens: int, kv_tokens: int, itl_s: float) -> bool:
        """Whether a decode worker may compute so much of a prompt, and leaves a part to others.

        The very iteration that computes it, with the prompts that are there, is to keep `itl_s`:
        who has few gaps would miss its target by a single long one.
        """
        if itl_s < inf:
            length_s = self._itl_s(worker.in_flight + 1, worker.kv_tokens + kv_tokens)
            length_s += self.predictor.prefill_s(worker.direct_tokens + new_tokens)
            if worker.pace * length_s > self._margin * itl_s:
                return False
        return self.has_decode_room(worker, kv_tokens, itl_s, late=True)

    def _occupied(self, worker: Worker) -> int:
        """Sequences that it will have when one that is sent now begins to decode."""
        if self.spec.role is not Role.DECODE:
            return worker.in_flight
        decoding = worker.ideal.sequences
        return ceil(self.turnover.occupied(decoding, worker.in_flight - decoding))

    def holds(self, worker: Worker, kv_tokens: int) -> bool:
        """Whether it has KV space for so much more, and for what those there may come to hold.

        They will not all be long at once: independent deviations add up in squares. Of one
        sequence its whole deviation is reserved, of many little more than their means.
        """
        if not worker.kv_tokens:
            return True
        held_tokens = worker.kv_tokens + kv_tokens
        return held_tokens + sqrt(worker.kv_spread) <= self.predictor.most_kv_tokens

    def _runs(self, worker: Worker, sequences: int, kv_tokens: int, itl_s: float) -> bool:
        """Whether it runs one more than so many, within `itl_s`."""
        if sequences >= self.predictor.max_sequences:
            return False
        return itl_s == inf or self._keeps(worker, sequences + 1, kv_tokens, itl_s)

    def _keeps(self, worker: Worker, sequences: int, kv_tokens: int, itl_s: float) -> bool:
        """Whether ITL is kept with so many, or would not be kept by one alone either."""
        limit_s = self._margin * itl_s / worker.pace
        if self._itl_s(sequences, worker.kv_tokens + kv_tokens) <= limit_s:
            return True
        if self.mixes and sequences * _LEAST_SHARE <= self.predictor.max_sequences:
            return True
        return self._itl_s(1, kv_tokens) > limit_s
