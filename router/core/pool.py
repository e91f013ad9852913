"""One pool as this router sees it: members, the least loaded of them, room and predictions.

A worker that leaves the membership takes its load along; releasing a charge on it later harms
nobody.
"""

from collections.abc import Callable
from math import inf
from operator import attrgetter

from router.core.charge import Charge
from router.core.fading import FadingQuotient
from router.core.pace import Ideal, Pace
from router.core.predictor import Predictor
from router.core.traffic import PoolLog
from router.core.workers import Rank, Worker
from weir.domain.fleet import PoolSpec, Role
from weir.domain.ids import WorkerId
from weir.domain.planning import PoolMembers, WorkerEndpoint

__all__ = ["Pool"]

_TYPICAL_OSL_TOKENS = 256
_MORE = 16
"""One in this many on a decode worker may be more than it can run, as long as so many are still
in prefill elsewhere: until they come others have ended."""
_DECODE_MARGIN, _AGG_MARGIN = 0.97, 0.875
"""Room ends this far below the ITL target: what is predicted is a mean, and requests differ, the
more so where prompts come between."""
_LEAST_SHARE = 4
"""An aggregated worker may always take one in this many of the sequences its engine can run:
how much prompts will slow its iterations is not known well enough for less."""
_PACE_MEMORY = 128.0
_FADING_STEP_S = 1.0
_WORKER_HALF_LIFE_S = 60.0
_POOL_HALF_LIFE_S = 120.0
_PRIOR_TOKENS = 1024.0

_by_rank = attrgetter("rank")


class Pool:
    """A pool's workers, and what is predicted for them: the engine profile times their pace."""

    def __init__(self, spec: PoolSpec) -> None:
        self.spec = spec
        self.id = spec.id
        self.version = -1
        self.workers: dict[WorkerId, Worker] = {}
        self.log = PoolLog()
        self.decodes = spec.role is not Role.PREFILL
        self.mixes = spec.role is Role.AGG
        self._margin = _AGG_MARGIN if self.mixes else _DECODE_MARGIN
        self.pace = 1.0
        self.predictor = Predictor(spec.profile)
        self.transfer_s = self.predictor.transfer_s
        self._usable: list[Worker] = []
        self._recheck_at_s = -inf
        self._faded_at_s = -inf
        self._best: Worker | None = None
        self._fresh = False
        self._stale: list[Worker] = []
        self._observed = Pace(_PACE_MEMORY)
        self._prompt_share = FadingQuotient()
        self._prompt_s_per_token = 0.0
        self._rank: Callable[[Worker], Rank] = {
            Role.PREFILL: self._prefill_rank,
            Role.DECODE: self._decode_rank,
            Role.AGG: self._agg_rank,
        }[spec.role]

    # --- members -----------------------------------------------------------------------

    def apply(self, members: PoolMembers) -> bool:
        """Replace the membership; False if `members` is not newer than what is known.

        A worker that stays (same id and address) keeps its load; any other starts at zero.
        """
        if members.version <= self.version:
            return False
        self.version = members.version
        self.workers = {w.id: self._kept(w) or self._new(w) for w in members.workers}
        self.touch()
        return True

    def _kept(self, endpoint: WorkerEndpoint) -> Worker | None:
        worker = self.workers.get(endpoint.id)
        if worker is None:
            return None
        old = worker.endpoint
        if (old.host, old.port) != (endpoint.host, endpoint.port):
            return None
        worker.endpoint = endpoint
        return worker

    def _new(self, endpoint: WorkerEndpoint) -> Worker:
        return Worker(endpoint, Ideal(self.predictor.decode_s), self.pace)

    def touch(self) -> None:
        """Membership or a breaker has changed: look again which workers are usable."""
        self._recheck_at_s = -inf
        self._fresh = False

    def usable(self, now_s: float) -> list[Worker]:
        """Workers that may get a request now."""
        if now_s >= self._faded_at_s + _FADING_STEP_S:
            self._fade(now_s)
        if now_s >= self._recheck_at_s:
            self._usable = [w for w in self.workers.values() if w.usable(now_s)]
            self._recheck_at_s = self._next_probe_s(now_s)
            self._fresh = False
        return self._usable

    def next_probe_s(self, now_s: float) -> float:
        """When the next ejected worker may be probed; infinity if none is ejected."""
        self.usable(now_s)
        return self._recheck_at_s

    def _next_probe_s(self, now_s: float) -> float:
        ejected = (w.ejected_until_s for w in self.workers.values() if w.failures)
        return min((at_s for at_s in ejected if at_s > now_s), default=inf)

    # --- choice ------------------------------------------------------------------------

    def least_loaded(
        self, now_s: float, exclude: frozenset[WorkerId], kv_tokens: int = 0
    ) -> Worker | None:
        """The usable worker with the least load, the least used one among equals.

        It holds `kv_tokens` more, if there is one that does.
        """
        usable = self.usable(now_s)
        if self._stale:
            self._rank_anew()
        if exclude:
            usable = [w for w in usable if w.endpoint.id not in exclude]
            best = min(usable, key=_by_rank, default=None)
        else:
            if not self._fresh:
                self._best = min(usable, key=_by_rank, default=None)
                self._fresh = True
            best = self._best
        if kv_tokens and best is not None and not self._holds(best, kv_tokens):
            return min((w for w in usable if self._holds(w, kv_tokens)), key=_by_rank, default=best)
        return best

    def reload(self, worker: Worker) -> None:
        """The worker's load has changed. Nothing to do for one that is `stale` already."""
        if not worker.stale:
            worker.stale = True
            self._stale.append(worker)

    def _rank_anew(self) -> None:
        """The best stays the best while it only gets less, and nobody else less than it has."""
        best, rank_of = self._best, self._rank
        for worker in self._stale:
            worker.stale = False
            before, rank = worker.rank, rank_of(worker)
            worker.rank = rank
            if worker is best:
                if rank > before:
                    self._fresh = False
            elif best is None or rank < best.rank:
                self._fresh = False
        self._stale.clear()

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
        if sequences >= most and sequences - self._others_end(worker) >= most:
            return inf
        return (
            predictor.no_sequence_s
            + predictor.per_sequence_s * sequences
            + predictor.per_kv_token_s * worker.kv_tokens
        )

    # --- prediction --------------------------------------------------------------------

    def prefill_s(self, worker: Worker, isl_tokens: int) -> float:
        """Seconds until the first token of a prompt that joins `worker`'s queue now."""
        decode_s = worker.ideal.step_s if self.mixes else 0.0
        return worker.pace * self._prefill_s(worker.queued_tokens + isl_tokens, decode_s)

    def busy_prefill_s(self, isl_tokens: int) -> float:
        """Seconds to the first token of a prompt that is sent as soon as there is room."""
        decode_s = 0.0
        if self.mixes and self.workers:
            decode_s = sum(w.ideal.step_s for w in self.workers.values()) / len(self.workers)
        return self.pace * self._prefill_s(2 * self.predictor.batch_tokens + isl_tokens, decode_s)

    def _prefill_s(self, tokens: int, decode_s: float) -> float:
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
        """Seconds that an engine as its profile spends on a prompt; a decode pool has none."""
        return 0.0 if self.spec.role is Role.DECODE else self.predictor.prefill_s(isl_tokens)

    def observe(self, worker: Worker, ratio: float, weight: float) -> None:
        """A worker took `ratio` times as long for something as its profile says."""
        worker.observed.observe(ratio, weight, self.pace)
        self._observed.observe(ratio, weight, 1.0)
        self.pace = self._observed.given(1.0)
        worker.pace = worker.observed.given(self.pace)

    def served(self, isl_tokens: int, osl_tokens: int) -> None:
        """A leg has ended well: so much prefill comes with so much output."""
        if self.mixes:
            self._prompt_share.add(self.prompt_s(isl_tokens), osl_tokens)
            self._prompt_s_per_token = self._prompt_share.mean(0.0, _PRIOR_TOKENS)

    def _fade(self, now_s: float) -> None:
        """What was seen counts less with time, so that who gets nothing is tried again."""
        age_s, self._faded_at_s = now_s - self._faded_at_s, now_s
        self._observed.fade(0.5 ** (age_s / _POOL_HALF_LIFE_S))
        self.pace = self._observed.given(1.0)
        keep = 0.5 ** (age_s / _WORKER_HALF_LIFE_S)
        for worker in self.workers.values():
            worker.observed.fade(keep)
            worker.pace = worker.observed.given(self.pace)
            self.reload(worker)

    # --- room --------------------------------------------------------------------------

    def has_prefill_room(self, worker: Worker, isl_tokens: int) -> bool:
        """Less than keeps the engine's batches full is queued there.

        A batch is running and one must be complete when it ends, before word of what it
        finished has come back; of the first prompt up to all may be done already. More would
        only queue at the engine, from where it cannot move to a worker that appears later.
        """
        return worker.queued_tokens < 2 * self.predictor.batch_tokens + isl_tokens

    def has_decode_room(self, worker: Worker, kv_tokens: int, itl_s: float = inf) -> bool:
        """Fewer are there than the engine can run, and run within `itl_s`.

        An idle worker has room for anybody.
        """
        if not worker.in_flight:
            return True
        sequences = worker.in_flight - self._others_end(worker)
        if sequences >= self.predictor.max_sequences or not self._holds(worker, kv_tokens):
            return False
        return itl_s == inf or self._keeps(worker, sequences + 1, kv_tokens, itl_s)

    def _others_end(self, worker: Worker) -> int:
        """How many of those there will have ended when those still in prefill elsewhere come."""
        return min(worker.coming, max(1, worker.in_flight // _MORE)) if worker.coming else 0

    def _holds(self, worker: Worker, kv_tokens: int) -> bool:
        held_tokens = worker.kv_tokens
        return not held_tokens or held_tokens + kv_tokens <= self.predictor.most_kv_tokens

    def _keeps(self, worker: Worker, sequences: int, kv_tokens: int, itl_s: float) -> bool:
        """Whether ITL is kept with so many, or would not be kept by one alone either."""
        limit_s = self._margin * itl_s / worker.pace
        if self._itl_s(sequences, worker.kv_tokens + kv_tokens) <= limit_s:
            return True
        if self.mixes and sequences * _LEAST_SHARE <= self.predictor.max_sequences:
            return True
        return self._itl_s(1, kv_tokens) > limit_s

    # --- capacity ----------------------------------------------------------------------

    def capacity(self) -> float:
        """Relative capacity of its members, to share load by when there is no plan."""
        serving = sum(not w.endpoint.draining for w in self.workers.values())
        predictor = self.predictor
        decode = self.spec.role is Role.DECODE
        return serving * (predictor.decode_rate if decode else predictor.prefill_rate)

    # --- charges -----------------------------------------------------------------------

    def charge(self, endpoint: WorkerEndpoint, *, kv_tokens: int = 0) -> Charge:
        """Put a request on a worker; the charge takes it off again.

        A worker that has left meanwhile is charged out of sight.
        """
        return Charge(self, self.workers.get(endpoint.id) or self._new(endpoint), kv_tokens)

    def fail(self, worker_id: WorkerId, now_s: float) -> None:
        """A request failed on the worker: open its breaker."""
        worker = self.workers.get(worker_id)
        if worker is not None:
            worker.fail(now_s)
            self.touch()
