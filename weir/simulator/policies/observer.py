"""Looks at all pools: costs a little for each replica at each look, nothing for a call."""

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING

from weir.domain.fleet import PoolSpec, Role
from weir.domain.ids import PoolId, WorkerId
from weir.engine.run import Totals
from weir.simulator.cluster import PoolOfReplicas
from weir.simulator.policies.seen import ForwardPass, PoolSeen, ReplicaSeen
from weir.simulator.policies.traffic import TrafficMeter
from weir.simulator.replica import Phase, Replica
from weir.sizing.capacity import prefill_backlog_s

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["Observer"]

_NOTHING = Totals(iterations=0, busy_s=0.0, prefill_tokens=0, decode_tokens=0)


class Observer:
    """Remembers what each replica had done when it was last looked at."""

    def __init__(self, world: "World", meter: TrafficMeter | None = None) -> None:
        self._world = world
        self._meter = meter
        self._done: dict[WorkerId, tuple[float, Totals]] = {}

    def look(self, wanted: Mapping[PoolId, int]) -> dict[PoolId, PoolSeen]:
        traffic = self._meter.take() if self._meter is not None else {}
        before, self._done = self._done, {}
        return {
            pool_id: PoolSeen(
                spec=pool.spec,
                wanted=wanted[pool_id],
                ready=tuple(self._replica(pool, replica, before) for replica in pool.ready),
                starting=pool.phase_count(Phase.STARTING),
                terminating=pool.phase_count(Phase.TERMINATING),
                queued=self._world.gateway.queued(pool_id),
                traffic=traffic.get(pool_id),
            )
            for pool_id, pool in self._world.cluster.pools.items()
        }

    def _replica(
        self,
        pool: PoolOfReplicas,
        replica: Replica,
        before: Mapping[WorkerId, tuple[float, Totals]],
    ) -> ReplicaSeen:
        now_s, model = self._world.now_s, replica.run.model
        totals = replica.run.totals(now_s)
        since_s, then = before.get(replica.id, (replica.ready_at_s or now_s, _NOTHING))
        self._done[replica.id] = (now_s, totals)
        cap = replica.cap if replica.cap < inf else float(model.profile.max_sequences)
        return ReplicaSeen(
            waiting=model.waiting,
            running=model.running,
            pending_tokens=model.pending_tokens,
            kv_used_tokens=model.kv_used_tokens,
            kv_total_tokens=model.kv_total_tokens,
            cap=cap,
            utilization=_utilization(pool.spec, replica, cap, totals, then, now_s - since_s),
            forward_pass=_forward_pass(replica),
        )


def _utilization(
    spec: PoolSpec, replica: Replica, cap: float, now: Totals, then: Totals, span_s: float
) -> float:
    if spec.role is Role.PREFILL:
        return min(1.0, (now.busy_s - then.busy_s) / span_s) if span_s > 0.0 else 0.0
    model, profile = replica.run.model, spec.profile
    calls = model.running + model.waiting
    if not calls or span_s <= 0.0:
        return 0.0
    full = max(1, int(cap))
    full_s = profile.iteration_s(
        prefill_tokens=0,
        sequences=full,
        kv_used_tokens=min(profile.kv_tokens, full * model.kv_used_tokens // calls),
    )
    work_s = (now.decode_tokens - then.decode_tokens) / full * full_s
    work_s += prefill_backlog_s(profile, now.prefill_tokens - then.prefill_tokens)
    return min(1.0, max(calls / cap, work_s / span_s))


def _forward_pass(replica: Replica) -> ForwardPass | None:
    iteration = replica.run.model.iteration
    if iteration is None:
        return None
    return ForwardPass(
        prefill_tokens=iteration.prefill_tokens,
        sequences=iteration.sequences,
        context_tokens=iteration.context_tokens,
        duration_s=iteration.end_s - iteration.start_s,
    )
