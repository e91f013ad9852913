"""GPUs and power: what is set aside must fit, what is promised should."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from weir.domain.fleet import Fleet, PoolSpec
from weir.fleet.finding import Finding, Level, at
from weir.fleet.tree import Path, Tree

__all__ = ["budget_findings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limit:
    """GPUs that `pools` together may hold, or watts that they may draw; where that is written."""

    path: Path
    what: str
    most: int
    pools: tuple[PoolSpec, ...]
    watts: bool = False

    @property
    def unit(self) -> str:
        return "W" if self.watts else "GPUs"

    def each(self, pool: PoolSpec) -> int:
        """What a replica takes."""
        return pool.gpus_per_replica * ((pool.power_w_per_gpu or 0) if self.watts else 1)


def budget_findings(fleet: Fleet, tree: Tree) -> Iterator[Finding]:
    """Floors and guarantees against every limit, and pools that cannot use their maximum."""
    for limit in _limits(fleet, tree):
        yield from _set_aside(limit, tree)
        yield from _beyond(limit, fleet.pools, tree)
    for limit in _limits_in_windows(fleet):
        yield from _set_aside(limit, tree)
    yield from _unknown_power(fleet, tree)
    groups_gpus = sum(group.gpus for group in fleet.node_groups)
    if fleet.budget.gpus > groups_gpus:
        message = f"is {fleet.budget.gpus}, but the node groups hold only {groups_gpus} GPUs"
        yield at(tree, ("spec", "budget", "gpus"), message, level=Level.WARNING)


def _limits(fleet: Fleet, tree: Tree) -> Iterator[_Limit]:
    budget = ("spec", "budget")
    yield _Limit(
        path=(*budget, "gpus"), what="the budget", most=fleet.budget.gpus, pools=fleet.pools
    )
    if fleet.budget.power_w is not None:
        yield _Limit(
            path=(*budget, "power_w"),
            what="the power budget",
            most=fleet.budget.power_w,
            pools=fleet.pools,
            watts=True,
        )
    for gpu_class, gpus in fleet.budget.by_gpu_class.items():
        yield _Limit(
            path=(*budget, "gpuClasses", gpu_class),
            what=f"the budget of GPU class {gpu_class}",
            most=gpus,
            pools=tuple(pool for pool in fleet.pools if pool.gpu_class == gpu_class),
        )
    if not tree.get(("spec", "nodeGroups")):
        return
    for index, group in enumerate(fleet.node_groups):
        path: Path = ("spec", "nodeGroups", index)
        pools = _in_group(fleet, group.name)
        what = f"node group {group.name}"
        yield _Limit(path=(*path, "gpus"), what=what, most=group.gpus, pools=pools)
        if group.power_w is not None:
            path, what = (*path, "power_w"), f"the power of {what}"
            yield _Limit(path=path, what=what, most=group.power_w, pools=pools, watts=True)


def _limits_in_windows(fleet: Fleet) -> Iterator[_Limit]:
    for index, window in enumerate(fleet.budget.windows):
        path: Path = ("spec", "budget", "windows", index)
        if window.gpus is not None:
            what = f"the budget in the window {window.name}"
            yield _Limit(path=(*path, "gpus"), what=what, most=window.gpus, pools=fleet.pools)
        if window.power_w is not None:
            yield _Limit(
                path=(*path, "power_w"),
                what=f"the power budget in the window {window.name}",
                most=window.power_w,
                pools=fleet.pools,
                watts=True,
            )
        for gpu_class, gpus in window.by_gpu_class.items():
            yield _Limit(
                path=(*path, "gpuClasses", gpu_class),
                what=f"the budget of GPU class {gpu_class} in the window {window.name}",
                most=gpus,
                pools=tuple(pool for pool in fleet.pools if pool.gpu_class == gpu_class),
            )


def _in_group(fleet: Fleet, name: str) -> tuple[PoolSpec, ...]:
    return tuple(pool for pool in fleet.pools if pool.node_group == name)


def _unknown_power(fleet: Fleet, tree: Tree) -> Iterator[Finding]:
    """Where power is limited nobody may draw an unknown amount."""
    budget = fleet.budget
    everywhere = any(w is not None for w in (budget.power_w, *(w.power_w for w in budget.windows)))
    limited = {group.name for group in fleet.node_groups if group.power_w is not None}
    for index, pool in enumerate(fleet.pools):
        if pool.power_w_per_gpu is None and (everywhere or pool.node_group in limited):
            message = "power is limited here: give `power_w_per_gpu`, watts of a GPU under load"
            yield at(tree, ("spec", "pools", index), message)


def _set_aside(limit: _Limit, tree: Tree) -> Iterator[Finding]:
    aside = sum(pool.aside_replicas * limit.each(pool) for pool in limit.pools)
    if aside > limit.most:
        parts = _sum((pool.id, pool.aside_replicas, limit.each(pool)) for pool in limit.pools)
        lends = any(pool.aside_replicas > pool.floor_replicas for pool in limit.pools)
        needs = "floors and what is not lent need" if lends else "floors need"
        message = (
            f"the pools' {needs} {aside} {limit.unit} ({parts}), {limit.what} has {limit.most}"
        )
        yield at(tree, limit.path, f"{message}; lower a floor or raise it")
        return
    guarantees = sum(pool.guarantee_replicas * limit.each(pool) for pool in limit.pools)
    if guarantees > limit.most:
        message = f"the guarantees need {guarantees} {limit.unit}, {limit.what} has {limit.most}"
        yield at(tree, limit.path, f"{message}: not all can be kept", level=Level.WARNING)


def _sum(parts: Iterator[tuple[str, int, int]]) -> str:
    shown = [f"{name} {replicas}x{gpus}" for name, replicas, gpus in parts if replicas]
    return ", ".join(shown[:8]) + (", ..." if len(shown) > 8 else "")


def _beyond(limit: _Limit, pools: Sequence[PoolSpec], tree: Tree) -> Iterator[Finding]:
    members = {pool.id for pool in limit.pools}
    for index, pool in enumerate(pools):
        path: Path = ("spec", "pools", index)
        if pool.id not in members or not pool.max_replicas:
            continue
        each = limit.each(pool)
        if each > limit.most:
            message = f"one replica needs {each} {limit.unit}, {limit.what} has {limit.most}"
            key = "power_w_per_gpu" if limit.watts else "gpus_per_replica"
            yield at(tree, (*path, key), message)
        elif pool.max_replicas * each > limit.most and not (limit.watts and pool.max_implied):
            runs = limit.most // each
            has = f"{limit.what} has {limit.unit} for {runs} replicas"
            message = f"{has}, not for {pool.max_replicas}"
            yield at(tree, (*path, "max_replicas"), message, level=Level.WARNING)
