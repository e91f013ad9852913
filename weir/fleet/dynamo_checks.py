"""Dynamo's names: each component is one pool, and the floor is one that can be kept."""

from collections.abc import Iterator

from weir.domain.dynamo import DynamoDeployment
from weir.domain.fleet import Fleet, Role
from weir.fleet.finding import Finding, Level, at
from weir.fleet.tree import Path, Tree

__all__ = ["dynamo_findings"]


def dynamo_findings(fleet: Fleet, tree: Tree) -> Iterator[Finding]:
    """Components that are two pools, and a floor above what there can be."""
    yield from _doubles(fleet, tree)
    yield from _floor(fleet, tree)


def _doubles(fleet: Fleet, tree: Tree) -> Iterator[Finding]:
    owners: dict[tuple[DynamoDeployment, Role], str] = {}
    planners: dict[str, DynamoDeployment] = {}
    for index, pool in enumerate(fleet.pools):
        if pool.dynamo is None:
            continue
        path: Path = ("spec", "pools", index, "dynamo")
        role = Role.PREFILL if pool.role is Role.PREFILL else Role.DECODE
        first = planners.setdefault(str(pool.dynamo), pool.dynamo)
        if first.caller_namespace != pool.dynamo.caller_namespace:
            message = (
                f"the planner of {pool.dynamo} has the namespace {first.caller_namespace!r} "
                f"already, so not {pool.dynamo.caller_namespace!r}"
            )
            yield at(tree, (*path, "callerNamespace"), message)
        owner = owners.setdefault((first, role), pool.id)
        if owner != pool.id:
            message = f"the {role} component of {pool.dynamo} is the pool {owner!r} already"
            yield at(tree, (*path, "deployment"), message)


def _floor(fleet: Fleet, tree: Tree) -> Iterator[Finding]:
    least = fleet.dynamo.min_total_gpus
    if least is None:
        return
    path: Path = ("spec", "dynamo", "min_total_gpus")
    most = sum(pool.max_replicas * pool.gpus_per_replica for pool in fleet.pools)
    if least > fleet.budget.gpus:
        message = f"is {least}, the budget has {fleet.budget.gpus} GPUs; lower it or raise that"
        yield at(tree, path, message)
    elif least > most:
        message = f"is {least}, all pools at their maximum have {most} GPUs"
        yield at(tree, path, f"{message}: nothing may be given back", level=Level.WARNING)
    if all(pool.dynamo is None for pool in fleet.pools):
        message = "has no effect: no pool has `dynamo`"
        yield at(tree, path, message, level=Level.WARNING)
