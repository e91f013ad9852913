"""Single forward passes, as Dynamo's engines tell them, added up to one sample a second.

A worker's ranks are added up too. A pass counts once: one whose number is not above that of the
newest of its rank says nothing, unless the rank has been silent or begins to count anew.
"""

from dataclasses import dataclass, field

from weir.domain.ids import PoolId, WorkerId
from weir.domain.telemetry import ForwardPassSample

__all__ = ["ForwardPass", "Passes"]

_WINDOW_S = 1.0
_SILENT_S = 5.0
_FAR_BELOW = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardPass:
    """One iteration of one rank; `wall_s` 0 is an idle engine that says it is there."""

    worker_id: str
    rank: int
    number: int
    wall_s: float
    prefills: int
    prefill_tokens: int
    prefill_kv_tokens: int
    decodes: int
    decode_kv_tokens: int
    waiting: int
    waiting_tokens: int


@dataclass(slots=True)
class _Worker:
    began_s: float
    sequence: int = 0
    newest: dict[int, tuple[float, ForwardPass]] = field(default_factory=dict)
    fresh: list[ForwardPass] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Passes:
    """One pool's. Times are wall seconds, windows of samples `speed` times as long.

    `kv_total_tokens`: the KV space of one engine, which passes do not tell.
    """

    pool_id: PoolId
    speed: float = 1.0
    kv_total_tokens: int | None = None
    _workers: dict[str, _Worker] = field(default_factory=dict)

    def take(self, one: ForwardPass, now_s: float) -> bool:
        """Take in a pass; False if it says nothing new."""
        worker = self._workers.setdefault(one.worker_id, _Worker(now_s))
        known = worker.newest.get(one.rank)
        if known is not None:
            at_s, newest = known
            again = now_s - at_s > _SILENT_S or one.number < newest.number - _FAR_BELOW
            if one.number <= newest.number and not again:
                return False
        worker.newest[one.rank] = (now_s, one)
        worker.fresh.append(one)
        return True

    def due(self, now_s: float) -> list[ForwardPassSample]:
        """A sample of each worker that was heard since its last one, a second ago or more."""
        samples = []
        for worker_id, worker in list(self._workers.items()):
            window_s = now_s - worker.began_s
            if window_s < _WINDOW_S:
                continue
            if worker.fresh:
                samples.append(self._sample(worker_id, worker, window_s))
            elif window_s > _SILENT_S:
                del self._workers[worker_id]
                continue
            else:
                continue
            worker.began_s, worker.fresh = now_s, []
        return samples

    def _sample(self, worker_id: str, worker: _Worker, window_s: float) -> ForwardPassSample:
        worker.sequence += 1
        run = [one for one in worker.fresh if one.wall_s > 0.0]
        now = [one for _, one in worker.newest.values()]
        return ForwardPassSample(
            pool_id=self.pool_id,
            worker_id=WorkerId(worker_id),
            sequence=worker.sequence,
            window_s=window_s * self.speed,
            iterations=len(run),
            busy_s=sum(one.wall_s for one in run) * self.speed,
            prefill_tokens=sum(one.prefill_tokens for one in run),
            decode_tokens=sum(one.decodes for one in run),
            prefill_iterations=sum(one.prefills > 0 for one in run),
            running=sum(one.prefills + one.decodes for one in now),
            waiting=sum(one.waiting for one in now),
            waiting_tokens=sum(one.waiting_tokens for one in now),
            kv_used_tokens=sum(
                one.decode_kv_tokens + one.prefill_kv_tokens + one.prefill_tokens for one in now
            ),
            kv_total_tokens=self.kv_total_tokens,
        )
