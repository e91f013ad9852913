"""What to assume of pools that have not reported to this leader."""

from collections.abc import Mapping, Sequence

from globalplanner.core.arbiter.snapshot import PoolView
from globalplanner.core.budget.limits import Limit
from weir.domain.fleet import PoolSpec
from weir.domain.ids import PoolId

__all__ = ["with_unheard"]


def with_unheard(
    views: Sequence[PoolView], unheard: Sequence[PoolSpec], limits: Sequence[Limit]
) -> tuple[PoolView, ...]:
    """`views` and one for each unheard pool: it may run its maximum, as far as there is room.

    So nobody grows into what it may hold, and nobody has to give up anything for it either:
    only the minimum of each is set aside in any case.
    """
    specs = {spec.id: spec for spec in (*(view.spec for view in views), *unheard)}
    replicas = {view.spec.id: view.replicas for view in views}
    replicas |= {spec.id: spec.min_replicas for spec in unheard}
    seen = list(views)
    for spec in sorted(unheard, key=lambda spec: spec.id):
        while replicas[spec.id] < spec.max_replicas:
            more = {**replicas, spec.id: replicas[spec.id] + 1}
            if not _fit(specs, more, limits):
                break
            replicas = more
        held = "has not reported to this leader"
        seen.append(PoolView(spec=spec, replicas=replicas[spec.id], held=held))
    return tuple(seen)


def _fit(
    specs: Mapping[PoolId, PoolSpec], replicas: Mapping[PoolId, int], limits: Sequence[Limit]
) -> bool:
    gpus = {
        id: max(count, specs[id].aside_replicas) * specs[id].gpus_per_replica
        for id, count in replicas.items()
    }
    return all(limit.holds(gpus) for limit in limits)
