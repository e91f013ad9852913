"""What to assume of pools that have not reported to this leader."""

from collections.abc import Sequence

from globalplanner.core.limits import Limit
from globalplanner.core.snapshot import PoolView
from weir.domain.fleet import PoolSpec

__all__ = ["with_unheard"]


def with_unheard(
    views: Sequence[PoolView], unheard: Sequence[PoolSpec], limits: Sequence[Limit]
) -> tuple[PoolView, ...]:
    """`views` and one for each unheard pool: it may run its maximum, as far as there is room.

    So nobody grows into what it may hold, and nobody has to give up anything for it either.
    """
    seen = list(views)
    for spec in sorted(unheard, key=lambda spec: spec.id):
        replicas = spec.max_replicas
        while replicas > spec.min_replicas and not _fit(seen, spec, replicas, limits):
            replicas -= 1
        held = "has not reported to this leader"
        seen.append(PoolView(spec=spec, replicas=replicas, held=held))
    return tuple(seen)


def _fit(views: Sequence[PoolView], spec: PoolSpec, replicas: int, limits: Sequence[Limit]) -> bool:
    gpus = {
        view.spec.id: max(view.replicas, view.spec.floor_replicas) * view.spec.gpus_per_replica
        for view in views
    }
    gpus[spec.id] = max(replicas, spec.floor_replicas) * spec.gpus_per_replica
    return all(limit.holds(gpus) for limit in limits)
