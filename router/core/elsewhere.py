"""What other processes have on the workers that this one sends to, and have waiting.

Invariant: a worker's load is the sum of the charges that live on it and of what others have told
last. Who is forgotten takes along all that it told, so nothing of it can pin a worker.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from router.core.pool import Pool
from router.core.pools import Pools
from router.core.queue.waiting import Waiting
from router.core.workers.worker import Load, Worker
from weir.domain.ids import ClassName, PoolId, WorkerId

__all__ = ["Elsewhere", "Told"]


_NOTHING = Load()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """By one process: its load by pool and worker, and what waits there."""

    loads: Mapping[PoolId, Mapping[WorkerId, Load]] = field(default_factory=dict)
    waiting: Mapping[ClassName, tuple[int, int]] = field(default_factory=dict)
    """Requests and bytes of their prompts, by class."""


_NOBODY = Told()


class Elsewhere:
    """`told` and `forgotten` return whether there may be more room than before."""

    def __init__(self, pools: Pools, waiting: Waiting) -> None:
        self._pools = pools
        self._waiting = waiting
        self._told: dict[str, Told] = {}
        self._entered: dict[str, dict[tuple[PoolId, WorkerId], tuple[Worker, Load]]] = {}

    def own(self) -> Told:
        """What this process has itself, for others to be told."""
        loads = {pool.id: dict(self._own(pool)) for pool in self._pools}
        return Told(
            loads={pool_id: of for pool_id, of in loads.items() if of},
            waiting={
                name: (held.requests, held.bytes)
                for name, held in self._waiting.waits.items()
                if held.requests
            },
        )

    def told(self, process: str, told: Told, now_s: float) -> bool:
        """This is all that the process has now."""
        entered = self._entered.setdefault(process, {})
        eased = False
        gone = set(entered)
        for pool in self._pools:
            for worker_id, load in told.loads.get(pool.id, {}).items():
                worker = pool.workers.get(worker_id)
                key = pool.id, worker_id
                if worker is None:
                    continue
                gone.discard(key)
                known = entered.get(key)
                if known is not None and known[0] is not worker:
                    self._enter(pool, known[0], known[1], _NOTHING, now_s)
                    known = None
                before = _NOTHING if known is None else known[1]
                if before != load:
                    eased |= self._enter(pool, worker, before, load, now_s)
                entered[key] = worker, load
        for key in gone:
            worker, load = entered.pop(key)
            eased |= self._enter(self._pools[key[0]], worker, load, _NOTHING, now_s)
        last = self._told.get(process, _NOBODY)
        self._told[process] = told
        for pool_id in last.loads.keys() ^ told.loads.keys():
            self._count_sharers(pool_id)
        self._count_waiting()
        return eased

    def forgotten(self, process: str, now_s: float) -> bool:
        """It has ended, or was not heard for too long."""
        if process not in self._told:
            return False
        eased = self.told(process, Told(), now_s)
        del self._told[process], self._entered[process]
        return eased

    def _own(self, pool: Pool) -> Iterator[tuple[WorkerId, Load]]:
        for worker_id, worker in pool.workers.items():
            if not worker.served:
                continue
            others, ideal = worker.others, worker.ideal
            prompts_s = ideal.prompts_s if pool.decodes else worker.prompts.total_s
            load = Load(
                worker.in_flight - others.in_flight,
                worker.kv_tokens - others.kv_tokens,
                worker.kv_spread - others.kv_spread,
                worker.queued_tokens - others.queued_tokens,
                ideal.sequences - others.decoding,
                ideal.kv_tokens - others.decoding_kv_tokens,
                prompts_s - others.prompts_s if pool.decodes else prompts_s,
                worker.direct_tokens - others.direct_tokens,
            )
            if load != _NOTHING:
                yield worker_id, load

    def _enter(self, pool: Pool, worker: Worker, before: Load, after: Load, now_s: float) -> bool:
        """Whether the worker has less now than before."""
        in_flight = after.in_flight - before.in_flight
        kv_tokens = after.kv_tokens - before.kv_tokens
        kv_spread = after.kv_spread - before.kv_spread
        queued_tokens = after.queued_tokens - before.queued_tokens
        decoding = after.decoding - before.decoding
        decoding_kv_tokens = after.decoding_kv_tokens - before.decoding_kv_tokens
        direct_tokens = after.direct_tokens - before.direct_tokens
        prompts_s = max(0.0, after.prompts_s - before.prompts_s)
        if before is _NOTHING:
            prompts_s = 0.0  # Nobody has measured here how long those took.
        prompts = worker.prompts
        comes_to_none = queued_tokens > 0 and not worker.queued_tokens
        if comes_to_none:
            prompts.begin(now_s)
        elif prompts_s:
            prompts.elsewhere(prompts_s, now_s)
        elif queued_tokens < 0:
            prompts.begin(now_s)  # Nobody knows how much of it was done.
        worker.in_flight += in_flight
        worker.kv_tokens += kv_tokens
        worker.kv_spread += kv_spread
        worker.queued_tokens += queued_tokens
        worker.direct_tokens += direct_tokens
        pool.others_queued_tokens += queued_tokens
        pool.others_in_flight += in_flight
        if decoding or decoding_kv_tokens:
            worker.ideal.shift(decoding, decoding_kv_tokens, now_s)
        if comes_to_none or prompts_s or queued_tokens < 0:
            prompts.running_tokens = worker.queued_tokens
        if pool.decodes:
            worker.ideal.prompts_s += prompts_s
        others = worker.others
        worker.others = Load(
            others.in_flight + in_flight,
            others.kv_tokens + kv_tokens,
            others.kv_spread + kv_spread,
            others.queued_tokens + queued_tokens,
            others.decoding + decoding,
            others.decoding_kv_tokens + decoding_kv_tokens,
            others.prompts_s + prompts_s,
            others.direct_tokens + direct_tokens,
        )
        pool.reload(worker)
        return min(in_flight, kv_tokens, kv_spread, queued_tokens, decoding) < 0

    def _count_sharers(self, pool_id: PoolId) -> None:
        for pool in self._pools:
            if pool.id == pool_id:
                pool.sharers = sum(pool_id in told.loads for told in self._told.values())

    def _count_waiting(self) -> None:
        waiting: dict[ClassName, tuple[int, int]] = {}
        for told in self._told.values():
            for name, (requests, held_bytes) in told.waiting.items():
                before = waiting.get(name, (0, 0))
                waiting[name] = before[0] + requests, before[1] + held_bytes
        self._waiting.told(waiting)
