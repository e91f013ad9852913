"""The part of a fleet that is planned alone, as a fleet of its own."""

from collections.abc import Collection
from dataclasses import replace

from weir.domain.fleet import Budget, Fleet, NodeGroup, PoolSpec, Role, Stage
from weir.domain.ids import ModelName, PoolId

__all__ = ["alone"]


def alone(fleet: Fleet, pools: Collection[PoolId], budget_gpus: int | None) -> Fleet:
    """These pools with a budget of `budget_gpus`; None: that of the fleet, windows included.

    A pool whose other stage is not planned here is all there is to serve its requests, so it is
    weighed as if it did both: by what it can do, for what comes to it.
    """
    chosen = [pool for pool in fleet.pools if pool.id in pools]
    budget = fleet.budget
    if budget_gpus is not None:
        budget = replace(budget, gpus=budget_gpus, windows=())
    groups = {group.name: _group(group, budget) for group in fleet.node_groups}
    whole = _whole(chosen)
    models = {pool.model for pool in chosen}
    return replace(
        fleet,
        models=tuple(model for model in fleet.models if model.name in models),
        budget=budget,
        node_groups=tuple(groups.values()),
        pools=tuple(
            replace(
                pool,
                role=pool.role if pool.model in whole else Role.AGG,
                max_replicas=_max_replicas(pool, groups[pool.node_group], budget.widest),
            )
            for pool in chosen
        ),
    )


def _whole(pools: Collection[PoolSpec]) -> set[ModelName]:
    """Models of which both stages are here."""
    stages: dict[ModelName, set[Stage]] = {}
    for pool in pools:
        stages.setdefault(pool.model, set()).update(pool.role.stages)
    return {model for model, found in stages.items() if len(found) == len(Stage)}


def _group(group: NodeGroup, budget: Budget) -> NodeGroup:
    return replace(group, gpus=budget.widest.gpus) if group.implied else group


def _max_replicas(pool: PoolSpec, group: NodeGroup, budget: Budget) -> int:
    """What nobody has limited is what budget and node group can hold."""
    if not pool.max_implied:
        return pool.max_replicas
    of_class = budget.by_gpu_class.get(pool.gpu_class, budget.gpus)
    return max(pool.min_replicas, min(budget.gpus, of_class, group.gpus) // pool.gpus_per_replica)
