"""The fleet that counts now: its document, the budget window of the moment, what operators changed.

What an operator has changed live counts before the document and its windows, until it is taken
back. What it names that the document has no more is left out, and told by `left_out`. A budget
that was set live and is below what the floors need counts as that: the document that asks for such
floors is newer, since no operator could have set it under them.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from globalplanner.core.budget.limits import check_floors
from globalplanner.core.operators.windows import window_at
from weir.domain.errors import InfeasibleFloorsError
from weir.domain.fleet import Budget, Fleet, NodeGroup, PoolSpec
from weir.domain.overrides import Overrides, effective_classes
from weir.domain.schedule import BudgetWindow

__all__ = ["check_always", "effective", "gpu_classes", "left_out"]


def effective(fleet: Fleet, overrides: Overrides, unix_s: float) -> Fleet:
    """`fleet`, which is as its document has it, with everything that counts at `unix_s`."""
    found = _under(fleet, overrides, window_at(fleet.budget.windows, unix_s))
    return _with_room_for_floors(found, overrides)


def check_always(fleet: Fleet, overrides: Overrides) -> None:
    """Raises `InfeasibleFloorsError` if what is set aside does not fit at some time of the week."""
    check_floors(_under(fleet, overrides, None))
    for window in fleet.budget.windows:
        try:
            check_floors(_under(fleet, overrides, window))
        except InfeasibleFloorsError as error:
            raise InfeasibleFloorsError(
                needed=error.needed,
                most=error.most,
                limit=f"{error.limit} in the window {window.name}",
                unit=error.unit,
            ) from None


def left_out(fleet: Fleet, overrides: Overrides) -> Iterator[str]:
    """What of `overrides` does not count as it was meant, and why, for people."""
    pools = {pool.id for pool in fleet.pools}
    for what, names in (("freeze", overrides.frozen), ("drain", overrides.drained)):
        for id in sorted(names.keys() - pools):
            yield f"the {what} of pool {id}: the document has no such pool"
    for class_name in sorted(overrides.targets.keys() - {item.name for item in fleet.classes}):
        yield f"the targets of class {class_name}: the document has no such class"
    for gpu_class in sorted(overrides.gpus_by_class.keys() - gpu_classes(fleet)):
        yield f"the budget of GPU class {gpu_class}: no node group has it"
    strict = _under(fleet, overrides, None).budget
    given = _with_room_for_floors(_under(fleet, overrides, None), overrides).budget
    if given.gpus != strict.gpus:
        yield f"the budget of {strict.gpus} GPUs: the floors need {given.gpus}, which count"
    for name, gpus in sorted(given.by_gpu_class.items()):
        if gpus != strict.by_gpu_class[name]:
            less = strict.by_gpu_class[name]
            yield f"the budget of {less} {name} GPUs: the floors need {gpus}, which count"


def gpu_classes(fleet: Fleet) -> frozenset[str]:
    """Kinds of GPU that the fleet has."""
    return frozenset(group.gpu_class for group in fleet.node_groups)


def _under(fleet: Fleet, overrides: Overrides, window: BudgetWindow | None) -> Fleet:
    """The fleet in `window`, None if it is in none."""
    budget = _budget(fleet, overrides, window)
    groups = {group.name: _group(group, budget.gpus) for group in fleet.node_groups}
    return replace(
        fleet,
        classes=effective_classes(fleet.classes, overrides.targets),
        budget=budget,
        node_groups=tuple(groups.values()),
        pools=tuple(
            _pool(pool, groups, budget.gpus, drained=pool.id in overrides.drained)
            for pool in fleet.pools
        ),
    )


def _budget(fleet: Fleet, overrides: Overrides, window: BudgetWindow | None) -> Budget:
    budget, known = fleet.budget, gpu_classes(fleet)
    gpus = budget.gpus if window is None or window.gpus is None else window.gpus
    set_live = {name: n for name, n in overrides.gpus_by_class.items() if name in known}
    return replace(
        budget,
        gpus=gpus if overrides.budget_gpus is None else overrides.budget_gpus,
        power_w=budget.power_w if window is None or window.power_w is None else window.power_w,
        by_gpu_class={
            **budget.by_gpu_class,
            **(window.by_gpu_class if window is not None else {}),
            **set_live,
        },
    )


def _group(group: NodeGroup, budget_gpus: int) -> NodeGroup:
    return replace(group, gpus=budget_gpus) if group.implied else group


def _pool(
    pool: PoolSpec, groups: Mapping[str, NodeGroup], budget_gpus: int, *, drained: bool
) -> PoolSpec:
    """Nothing is set aside for a drained pool. An implied maximum grows with the budget."""
    if pool.max_implied:
        group = groups.get(pool.node_group)
        gpus = min(budget_gpus, group.gpus) if group is not None else budget_gpus
        pool = replace(pool, max_replicas=max(pool.max_replicas, gpus // pool.gpus_per_replica))
    if drained:
        return replace(pool, min_replicas=0, floor_replicas=0, guarantee_replicas=0)
    return pool


def _with_room_for_floors(fleet: Fleet, overrides: Overrides) -> Fleet:
    budget = fleet.budget
    gpus = budget.gpus
    if overrides.budget_gpus is not None:
        gpus = max(gpus, _set_aside(fleet.pools))
    by_gpu_class = dict(budget.by_gpu_class)
    for name in overrides.gpus_by_class.keys() & by_gpu_class.keys():
        of_class = [pool for pool in fleet.pools if pool.gpu_class == name]
        by_gpu_class[name] = max(by_gpu_class[name], _set_aside(of_class))
    if gpus == budget.gpus and by_gpu_class == budget.by_gpu_class:
        return fleet
    return replace(
        fleet,
        budget=replace(budget, gpus=gpus, by_gpu_class=by_gpu_class),
        node_groups=tuple(_group(group, gpus) for group in fleet.node_groups),
    )


def _set_aside(pools: Collection[PoolSpec]) -> int:
    """GPUs, as `check_floors` counts them."""
    return sum(max(p.min_replicas, p.aside_replicas) * p.gpus_per_replica for p in pools)
