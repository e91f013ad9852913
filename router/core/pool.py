"""One pool as this router sees it: members, the least loaded of them, room and predictions.

A worker that leaves the membership takes its load along; releasing a charge on it later harms
nobody.
"""

from collections.abc import Callable
from math import inf

from router.core.workers import Charge, Worker
from weir.domain.fleet import PoolSpec, Role
from weir.domain.ids import WorkerId
from weir.domain.planning import PoolMembers, WorkerEndpoint

__all__ = ["Pool"]

_MORE = 16
"""One in this many decoding sequences may wait at the engine for its turn."""
_TYPICAL_OSL_TOKENS = 256
_TYPICAL_SEQUENCE_TOKENS = 2048


class Pool:
    """A pool's workers, and what its engine profile predicts for them."""

    def __init__(self, spec: PoolSpec) -> None:
        self.spec = spec
        self.id = spec.id
        self.version = -1
        self.workers: dict[WorkerId, Worker] = {}
        self._usable: list[Worker] = []
        self._recheck_at_s = 0.0
        self._best: Worker | None = None
        self._fresh = False
        profile = spec.profile
        self._batch_tokens = profile.max_batched_tokens
        self._batch_s = profile.iteration_s(
            prefill_tokens=self._batch_tokens, sequences=0, kv_used_tokens=0
        )
        self._most_sequences = profile.max_sequences + max(1, profile.max_sequences // _MORE)
        self._most_kv_tokens = profile.kv_tokens + profile.kv_tokens // _MORE
        self.load: Callable[[Worker], tuple[float, int, int]] = {
            Role.PREFILL: _prefill_load,
            Role.DECODE: _decode_load,
            Role.AGG: self._agg_load,
        }[spec.role]
        self._queued_weight = self._queued_per_kv_token()

    # --- members -----------------------------------------------------------------------

    def apply(self, members: PoolMembers) -> bool:
        """Replace the membership; False if `members` is not newer than what is known.

        A worker that stays (same id and address) keeps its load; any other starts at zero.
        """
        if members.version <= self.version:
            return False
        self.version = members.version
        self.workers = {w.id: self._kept(w) or Worker(w) for w in members.workers}
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

    def touch(self) -> None:
        """Membership or a breaker has changed: look again which workers are usable."""
        self._recheck_at_s = 0.0
        self._fresh = False

    def usable(self, now_s: float) -> list[Worker]:
        """Workers that may get a request now."""
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

    def least_loaded(self, now_s: float, exclude: frozenset[WorkerId]) -> Worker | None:
        """The usable worker with the least load, the least used one among equals."""
        usable = self.usable(now_s)
        if exclude:
            usable = [w for w in usable if w.endpoint.id not in exclude]
            return min(usable, key=self.load, default=None)
        if not self._fresh:
            self._best = min(usable, key=self.load, default=None)
            self._fresh = True
        return self._best

    def _agg_load(self, worker: Worker) -> tuple[float, int, int]:
        load = self._queued_weight * worker.queued_tokens + worker.kv_tokens
        return load, worker.in_flight, worker.served

    def _queued_per_kv_token(self) -> float:
        """Delay by one queued prompt token over delay by one KV token, for a typical output."""
        profile = self.spec.profile
        empty_s, full_s = (
            profile.iteration_s(prefill_tokens=0, sequences=1, kv_used_tokens=used)
            for used in (0, profile.kv_tokens)
        )
        per_kv_token_s = (full_s - empty_s) * _TYPICAL_OSL_TOKENS / profile.kv_tokens
        per_queued_token_s = self._batch_s / self._batch_tokens
        return per_queued_token_s / per_kv_token_s if per_kv_token_s > 0.0 else 1.0

    # --- prediction --------------------------------------------------------------------

    def prefill_s(self, worker: Worker, isl_tokens: int) -> float:
        """Seconds until the first token of a prompt that joins `worker`'s queue now."""
        return self.spec.profile.idle_prefill_s(worker.queued_tokens + isl_tokens)

    def busy_prefill_s(self, isl_tokens: int) -> float:
        """Seconds to the first token of a prompt that is sent as soon as there is room."""
        return self.spec.profile.idle_prefill_s(2 * self._batch_tokens + isl_tokens)

    def itl_s(self, worker: Worker, kv_tokens: int) -> float:
        """Seconds per output token once a sequence of `kv_tokens` has joined `worker`."""
        profile = self.spec.profile
        return profile.iteration_s(
            prefill_tokens=0,
            sequences=min(worker.in_flight + 1, profile.max_sequences),
            kv_used_tokens=min(worker.kv_tokens + kv_tokens, profile.kv_tokens),
        )

    def transfer_s(self, isl_tokens: int) -> float:
        """Seconds to pull a prompt's KV from a prefill worker."""
        return self.spec.profile.kv_transfer_s(isl_tokens)

    # --- room --------------------------------------------------------------------------

    def has_prefill_room(self, worker: Worker, isl_tokens: int) -> bool:
        """Less than keeps the engine's batches full is queued there.

        A batch is running and one must be complete when it ends, before word of what it
        finished has come back; of the first prompt up to all may be done already. More would
        only queue at the engine, from where it cannot move to a worker that appears later.
        """
        return worker.queued_tokens < 2 * self._batch_tokens + isl_tokens

    def has_decode_room(self, worker: Worker, kv_tokens: int) -> bool:
        """Fewer are there than the engine can run, and a few that take over when one ends.

        The count includes those still in prefill, which is another reason for a few more.
        """
        return worker.in_flight == 0 or (
            worker.in_flight < self._most_sequences
            and worker.kv_tokens + kv_tokens <= self._most_kv_tokens
        )

    # --- capacity ----------------------------------------------------------------------

    def capacity(self) -> float:
        """Relative capacity of its members, to share load by when there is no plan."""
        serving = sum(not w.endpoint.draining for w in self.workers.values())
        return serving * self._worker_rate()

    def _worker_rate(self) -> float:
        profile = self.spec.profile
        if self.spec.role is not Role.DECODE:
            return self._batch_tokens / self._batch_s
        fitting = max(1, profile.kv_tokens // _TYPICAL_SEQUENCE_TOKENS)
        sequences = min(profile.max_sequences, fitting)
        used = min(profile.kv_tokens, sequences * _TYPICAL_SEQUENCE_TOKENS)
        return sequences / profile.iteration_s(
            prefill_tokens=0, sequences=sequences, kv_used_tokens=used
        )

    # --- charges -----------------------------------------------------------------------

    def charge(self, endpoint: WorkerEndpoint, *, kv_tokens: int = 0) -> Charge:
        """Put a request on a worker; the charge takes it off again.

        A worker that has left meanwhile is charged out of sight.
        """
        worker = self.workers.get(endpoint.id) or Worker(endpoint)
        worker.kv_tokens += kv_tokens
        worker.in_flight += 1
        worker.served += 1
        probe = worker.failures > 0
        if probe:
            worker.probing = True
            self.touch()
        self._fresh = False
        return Charge(pool=self, worker=worker, kv_tokens=kv_tokens, probe=probe)

    def fail(self, worker_id: WorkerId, now_s: float) -> None:
        """A request failed on the worker: open its breaker."""
        worker = self.workers.get(worker_id)
        if worker is not None:
            worker.fail(now_s)
            self.touch()

    def recharged(self) -> None:
        """A worker's load has changed."""
        self._fresh = False


def _prefill_load(worker: Worker) -> tuple[float, int, int]:
    return worker.queued_tokens, worker.in_flight, worker.served


def _decode_load(worker: Worker) -> tuple[float, int, int]:
    return worker.kv_tokens, worker.in_flight, worker.served
