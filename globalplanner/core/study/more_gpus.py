"""GPUs of a class more or fewer than there are: which limits that moves."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from globalplanner.core.arbiter.snapshot import PoolView, Snapshot
from globalplanner.core.budget.limits import Limit
from weir.domain.ids import PoolId

__all__ = ["classes_of", "gpus_with", "with_class_limits"]


def classes_of(snapshot: Snapshot) -> dict[str, list[PoolView]]:
    """Pools by their class of GPU."""
    pools: dict[str, list[PoolView]] = {}
    for view in sorted(snapshot.pools, key=lambda view: view.spec.id):
        pools.setdefault(view.spec.gpu_class, []).append(view)
    return dict(sorted(pools.items()))


def with_class_limits(snapshot: Snapshot) -> Snapshot:
    """`snapshot` where node groups of one class are also held to what they hold together.

    So GPUs that come to a class may come to any of its node groups, but to one of them only.
    """
    return replace(snapshot, limits=(*snapshot.limits, *_together(snapshot)))


def gpus_with(snapshot: Snapshot, more: Mapping[str, int]) -> dict[str, int]:
    """What limits hold with so many more GPUs by class: in the budget and in all of the class.

    Watts stay as they are.
    """
    pools = classes_of(snapshot)
    ids = {name: {view.spec.id for view in pools.get(name, ())} for name in more}
    return {
        limit.name: max(
            0,
            limit.most
            + sum(
                n
                for name, n in more.items()
                if not (limit.watts or limit.pools.isdisjoint(ids[name]))
            ),
        )
        for limit in snapshot.limits
    }


def _together(snapshot: Snapshot) -> Iterator[Limit]:
    for name, views in classes_of(snapshot).items():
        ids = frozenset(view.spec.id for view in views)
        own = [each for each in snapshot.limits if each.pools <= ids and not each.watts]
        if len(own) > 1 and _covered(own) == ids and all(limit.pools != ids for limit in own):
            gpus = sum(limit.most for limit in own)
            yield Limit(name=f"all node groups of {name}", most=gpus, pools=ids)


def _covered(limits: Sequence[Limit]) -> frozenset[PoolId]:
    return frozenset().union(*(limit.pools for limit in limits))
