"""Workers and models given on the command line instead of by planners and a Fleet document."""

import math
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import SplitResult, urlsplit

from router.config import Address, UsageError
from weir.domain.fleet import (
    Budget,
    Fleet,
    Model,
    NodeGroup,
    PoolSpec,
    RequestClass,
    Role,
    Slo,
    TokenRange,
)
from weir.domain.ids import ClassName, ModelName, PoolId, WorkerId
from weir.domain.planning import PoolMembers, WorkerEndpoint
from weir.domain.profile import EngineProfile

__all__ = ["STATIC_POOL", "static_fleet", "static_members"]

STATIC_POOL = PoolId("default")
"""The one pool of a router that is given workers, and neither a Fleet document nor a grid."""

_STATIC_PROFILE = EngineProfile(kv_tokens=4_000_000, max_sequences=4096, max_batched_tokens=32_768)
"""Bounds far above any engine's: nothing is known of these, and they queue by themselves."""

_UNKNOWN_CONTEXT_TOKENS = 2**31


def static_fleet(
    models: Sequence[str], pools: Iterable[tuple[str, Role]] = ((STATIC_POOL, Role.AGG),)
) -> Fleet:
    """The model (further names are aliases) in these pools, without any target."""
    name = ModelName(models[0])
    everything = RequestClass(
        name=ClassName("default"),
        isl_tokens=TokenRange(),
        osl_tokens=TokenRange(),
        slo=Slo(ttft_s=math.inf, itl_s=math.inf),
    )
    return Fleet(
        name="static",
        models=(Model(name=name, aliases=tuple(models[1:])),),
        classes=(everything,),
        budget=Budget(gpus=1),
        node_groups=(NodeGroup(name="default", gpu_class="unknown", gpus=1),),
        pools=tuple(_pool(PoolId(pool), role, name) for pool, role in pools),
    )


def _pool(pool_id: PoolId, role: Role, model: ModelName) -> PoolSpec:
    return PoolSpec(
        id=pool_id,
        role=role,
        model=model,
        gpus_per_replica=1,
        node_group="default",
        gpu_class="unknown",
        min_replicas=0,
        max_replicas=1,
        floor_replicas=0,
        guarantee_replicas=0,
        weight=1.0,
        start_up_s=0.0,
        profile=_STATIC_PROFILE,
        context_limit_tokens=_UNKNOWN_CONTEXT_TOKENS,
    )


def static_members(workers: Sequence[str], fleet: Fleet | None) -> tuple[PoolMembers, ...]:
    """`--worker` values as memberships: URLs, or POOL=URL for the pools of `fleet`.

    Raises `UsageError` naming the value that cannot be used.
    """
    by_pool: dict[PoolId, dict[str, WorkerEndpoint]] = {}
    for text in workers:
        pool_id, url = _pool_and_url(text, fleet)
        endpoint = _endpoint(url)
        known = by_pool.setdefault(pool_id, {})
        if endpoint.id in known:
            raise UsageError(f"--worker {text}: given twice")
        known[endpoint.id] = endpoint
    return _memberships(by_pool)


def _memberships(
    by_pool: Mapping[PoolId, Mapping[str, WorkerEndpoint]],
) -> tuple[PoolMembers, ...]:
    return tuple(
        PoolMembers(pool_id=pool_id, version=0, workers=tuple(workers.values()))
        for pool_id, workers in by_pool.items()
    )


def _pool_and_url(text: str, fleet: Fleet | None) -> tuple[PoolId, str]:
    if fleet is None:
        return STATIC_POOL, text
    name, equals, url = text.partition("=")
    pools = [pool.id for pool in fleet.pools]
    if not equals or name not in pools:
        raise UsageError(f"--worker {text}: it must be POOL=URL, POOL one of {', '.join(pools)}")
    return PoolId(name), url


def _endpoint(url: str) -> WorkerEndpoint:
    parts = _split(url)
    if parts.scheme != "http" or not parts.hostname:
        raise UsageError(f"--worker {url}: must be http://HOST[:PORT]")
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username:
        raise UsageError(f"--worker {url}: give scheme, host and port only, without a path")
    address = Address(host=parts.hostname, port=parts.port or 80)
    return WorkerEndpoint(id=WorkerId(str(address)), host=address.host, port=address.port)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise UsageError(f"--worker {url}: {error}") from None
    return parts
