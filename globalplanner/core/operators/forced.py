"""What happens of a decision though nobody has approved it: what limits and bounds force."""

from collections.abc import Mapping

from globalplanner.core.arbiter.snapshot import Decision, PoolView, Snapshot
from globalplanner.core.budget.limits import Limit
from globalplanner.core.study.flows import aside_of
from weir.domain.ids import PoolId

__all__ = ["fitting", "forced", "gpus_of", "least", "most"]

_Replicas = Mapping[PoolId, int]


def forced(before: _Replicas, decision: Decision, snapshot: Snapshot) -> dict[PoolId, int]:
    """Replicas by pool, of those that have to change from `before`.

    First what is above a pool's bounds goes, then what exceeded limits take, then pools below their
    minimum grow as far as it fits. No pool changes by more than the decision has it.
    """
    aims: dict[PoolId, int] = {}
    for view in snapshot.pools:
        id = view.spec.id
        if id in before and before[id] > most(view):
            aims[id] = max(decision.replicas.get(id, before[id]), most(view))
    for limit in snapshot.limits:
        _shrink(limit, aims, before, decision, snapshot)
    for view in snapshot.pools:
        id = view.spec.id
        now = aims.get(id, before.get(id, 0))
        wanted = min(least(view), decision.replicas.get(id, 0))
        if id in before and now < wanted:
            aims[id] = fitting(now, wanted, id, {**before, **aims}, snapshot)
    return {id: count for id, count in aims.items() if count != before[id]}


def fitting(now: int, top: int, pool_id: PoolId, replicas: _Replicas, snapshot: Snapshot) -> int:
    """As many as the limits hold beside `replicas` of the others: at most `top`, at least `now`.

    What is set aside for others is not to be had.
    """
    aside = {view.spec.id: aside_of(view) for view in snapshot.pools}
    others = {id: max(count, aside.get(id, 0)) for id, count in replicas.items()}
    gpus = gpus_of({**others, pool_id: 0}, snapshot)
    size = next(v.spec.gpus_per_replica for v in snapshot.pools if v.spec.id == pool_id)
    room = [
        (limit.most - limit.used(gpus)) // (size * limit.per_gpu(pool_id))
        for limit in snapshot.limits
        if pool_id in limit.pools
    ]
    return max(now, min([top, *room]))


def gpus_of(replicas: _Replicas, snapshot: Snapshot) -> dict[PoolId, int]:
    """GPUs by pool, of those that the snapshot has."""
    return {
        view.spec.id: replicas[view.spec.id] * view.spec.gpus_per_replica
        for view in snapshot.pools
        if view.spec.id in replicas
    }


def least(view: PoolView) -> int:
    """What the pool has to have."""
    return min(view.spec.min_replicas, most(view))


def most(view: PoolView) -> int:
    """What it may have at most."""
    top = view.spec.most_replicas
    return top if view.ceiling is None else min(top, view.ceiling)


def _shrink(
    limit: Limit,
    aims: dict[PoolId, int],
    before: _Replicas,
    decision: Decision,
    snapshot: Snapshot,
) -> None:
    """Lower `aims` one by one until the limit holds; the pool with most to give gives first."""
    sizes = {v.spec.id: v.spec.gpus_per_replica for v in snapshot.pools if v.spec.id in limit.pools}
    gpus = gpus_of({**before, **aims}, snapshot)
    while not limit.holds(gpus):
        giving = [
            (gpus[id] - after * sizes[id], id)
            for id, after in decision.replicas.items()
            if id in sizes and id in gpus and after * sizes[id] < gpus[id]
        ]
        if not giving:
            return
        _, id = max(giving)
        gpus[id] -= sizes[id]
        aims[id] = gpus[id] // sizes[id]
