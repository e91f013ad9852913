"""GPUs: what is set aside must fit, what is promised should."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from weir.domain.fleet import Fleet, PoolSpec
from weir.fleet.finding import Finding, Level, at
from weir.fleet.tree import Path, Tree

__all__ = ["budget_findings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limit:
    """GPUs that `pools` together may hold, and where that is written."""

    path: Path
    what: str
    gpus: int
    pools: tuple[PoolSpec, ...]


def budget_findings(fleet: Fleet, tree: Tree) -> Iterator[Finding]:
    """Floors and guarantees against every limit, and pools that cannot use their maximum."""
    for limit in _limits(fleet, tree):
        yield from _set_aside(limit, tree)
        yield from _beyond(limit, fleet.pools, tree)
    for limit in _limits_in_windows(fleet):
        yield from _set_aside(limit, tree)
    groups_gpus = sum(group.gpus for group in fleet.node_groups)
    if fleet.budget.gpus > groups_gpus:
        message = f"is {fleet.budget.gpus}, but the node groups hold only {groups_gpus} GPUs"
        yield at(tree, ("spec", "budget", "gpus"), message, level=Level.WARNING)


def _limits(fleet: Fleet, tree: Tree) -> Iterator[_Limit]:
    budget = ("spec", "budget")
    yield _Limit(
        path=(*budget, "gpus"), what="the budget", gpus=fleet.budget.gpus, pools=fleet.pools
    )
    for gpu_class, gpus in fleet.budget.by_gpu_class.items():
        yield _Limit(
            path=(*budget, "gpuClasses", gpu_class),
            what=f"the budget of GPU class {gpu_class}",
            gpus=gpus,
            pools=tuple(pool for pool in fleet.pools if pool.gpu_class == gpu_class),
        )
    if not tree.get(("spec", "nodeGroups")):
        return
    for index, group in enumerate(fleet.node_groups):
        yield _Limit(
            path=("spec", "nodeGroups", index, "gpus"),
            what=f"node group {group.name}",
            gpus=group.gpus,
            pools=tuple(pool for pool in fleet.pools if pool.node_group == group.name),
        )


def _limits_in_windows(fleet: Fleet) -> Iterator[_Limit]:
    for index, window in enumerate(fleet.budget.windows):
        path: Path = ("spec", "budget", "windows", index)
        if window.gpus is not None:
            what = f"the budget in the window {window.name}"
            yield _Limit(path=(*path, "gpus"), what=what, gpus=window.gpus, pools=fleet.pools)
        for gpu_class, gpus in window.by_gpu_class.items():
            yield _Limit(
                path=(*path, "gpuClasses", gpu_class),
                what=f"the budget of GPU class {gpu_class} in the window {window.name}",
                gpus=gpus,
                pools=tuple(pool for pool in fleet.pools if pool.gpu_class == gpu_class),
            )


def _set_aside(limit: _Limit, tree: Tree) -> Iterator[Finding]:
    aside = sum(pool.aside_replicas * pool.gpus_per_replica for pool in limit.pools)
    if aside > limit.gpus:
        parts = _sum((pool.id, pool.aside_replicas, pool.gpus_per_replica) for pool in limit.pools)
        lends = any(pool.aside_replicas > pool.floor_replicas for pool in limit.pools)
        needs = "floors and what is not lent need" if lends else "floors need"
        message = f"the pools' {needs} {aside} GPUs ({parts}), {limit.what} has {limit.gpus}"
        yield at(tree, limit.path, f"{message}; lower a floor or raise it")
        return
    guarantees = sum(pool.guarantee_replicas * pool.gpus_per_replica for pool in limit.pools)
    if guarantees > limit.gpus:
        message = f"the guarantees need {guarantees} GPUs, {limit.what} has {limit.gpus}"
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
        if pool.gpus_per_replica > limit.gpus:
            message = f"one replica needs {pool.gpus_per_replica} GPUs, {limit.what} has"
            yield at(tree, (*path, "gpus_per_replica"), f"{message} {limit.gpus}")
        elif pool.max_replicas * pool.gpus_per_replica > limit.gpus:
            runs = limit.gpus // pool.gpus_per_replica
            message = f"{limit.what} has GPUs for {runs} replicas, not for {pool.max_replicas}"
            yield at(tree, (*path, "max_replicas"), message, level=Level.WARNING)
