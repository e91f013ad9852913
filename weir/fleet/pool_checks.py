"""Pools and models: every pool can serve, every model is served, profiles make sense."""

from collections.abc import Iterator

from weir.domain.fleet import Fleet, PoolSpec, Role
from weir.domain.profile import EngineProfile
from weir.fleet.feasible import Route, routes
from weir.fleet.finding import Finding, Level, at
from weir.fleet.tree import Path, Tree

__all__ = ["pool_findings"]


def pool_findings(fleet: Fleet, tree: Tree) -> Iterator[Finding]:
    """Models without a complete route, pools without a part in one, engines that cannot run."""
    for index, model in enumerate(fleet.models):
        serving = [pool for pool in fleet.pools if pool.model == model.name]
        found = list(routes(fleet, model.name))
        if not found:
            path: Path = ("spec", "models", index)
            yield at(tree, path, f"model {model.name!r} cannot be served: {_lack(serving)}")
        else:
            yield from _outside(fleet, tree, serving, found)
    for index, pool in enumerate(fleet.pools):
        path = ("spec", "pools", index)
        if not pool.max_replicas:
            yield at(tree, path, "never runs, max_replicas is 0", level=Level.WARNING)
        most = tree.get((*path, "max_replicas"))
        if isinstance(most, int) and most != pool.max_replicas:
            message = f"is ignored: scaling none keeps the pool at {pool.max_replicas}"
            yield at(tree, (*path, "max_replicas"), message, level=Level.WARNING)
        yield from _engine_limits(pool, path, tree)
        if pool.kv_events and (pool.role is Role.DECODE or not pool.profile.prefix_caching):
            message = "are not read: prompts leave nothing there that others could use"
            yield at(tree, (*path, "kv_events"), message, level=Level.WARNING)
    yield from _profiles(fleet, tree)
    yield from _unused(fleet, tree)


def _lack(serving: list[PoolSpec]) -> str:
    running = [pool for pool in serving if pool.max_replicas > 0]
    roles = {pool.role for pool in running}
    if not running:
        return "no pool serves it" if not serving else "none of its pools may run a replica"
    if Role.DECODE not in roles:
        return f"it has prefill pools ({_names(running)}) but no decode pool"
    if Role.PREFILL not in roles:
        return f"it has decode pools ({_names(running)}) but no prefill pool"
    return "its prefill and decode pools speak different dialects"


def _names(pools: list[PoolSpec]) -> str:
    return ", ".join(pool.id for pool in pools)


def _outside(
    fleet: Fleet, tree: Tree, serving: list[PoolSpec], found: list[Route]
) -> Iterator[Finding]:
    """Pools of a served model that no request reaches, for want of their counterpart."""
    reached = {pool.id for route in found for pool in (route.prefill, route.decode)}
    for pool in serving:
        if pool.id not in reached and pool.max_replicas:
            other = Role.DECODE if pool.role is Role.PREFILL else Role.PREFILL
            message = f"unreachable: model {pool.model!r} has no {other} pool to go with it"
            yield at(tree, ("spec", "pools", fleet.pools.index(pool)), message)


def _engine_limits(pool: PoolSpec, path: Path, tree: Tree) -> Iterator[Finding]:
    profile, limit = pool.profile, pool.context_limit_tokens
    if limit > profile.kv_tokens:
        message = f"{limit} tokens do not fit the profile's KV space of {profile.kv_tokens}"
        yield at(tree, (*path, "context_limit_tokens"), message)
    whole = not profile.chunked_prefill and pool.role is not Role.DECODE
    if whole and limit > profile.max_batched_tokens:
        message = (
            f"a prompt of {limit} tokens never fits an iteration of "
            f"{profile.max_batched_tokens} (chunked_prefill is off)"
        )
        yield at(tree, (*path, "context_limit_tokens"), message)


def _profiles(fleet: Fleet, tree: Tree) -> Iterator[Finding]:
    reported: set[str] = set()
    for index, pool in enumerate(fleet.pools):
        name = tree.get(("spec", "pools", index, "profile"))
        if not isinstance(name, str) or name in reported:
            continue
        reported.add(name)
        if problem := _nonsense(pool.profile):
            yield at(tree, ("spec", "profiles", name, "timing"), problem)


def _nonsense(profile: EngineProfile) -> str | None:
    """Why no engine has these times, None if one may."""
    top = profile.max_batched_tokens
    samples = sorted({1, top, *(2**power for power in range(top.bit_length()))})
    for tokens in samples:
        if not profile.timing.prefill_time_s(tokens) > 0.0:
            return f"prefill of {tokens} tokens takes no time"
    return None


def _unused(fleet: Fleet, tree: Tree) -> Iterator[Finding]:
    pools = tree.get(("spec", "pools"))
    used = {item.get("profile") for item in pools if isinstance(item, dict)}
    for name in tree.get(("spec", "profiles")) or ():
        if name not in used:
            yield at(tree, ("spec", "profiles", name), "no pool uses it", level=Level.WARNING)
    groups = {pool.node_group for pool in fleet.pools}
    for index, group in enumerate(fleet.node_groups):
        if group.name not in groups:
            path: Path = ("spec", "nodeGroups", index)
            yield at(tree, path, "no pool runs in it", level=Level.WARNING)
