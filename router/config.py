"""What one router process is told: flags, and the Fleet document they name."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, InstanceOf, ValidationError

from weir.domain.errors import WeirError
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
from weir.domain.ids import ClassName, ModelName, PoolId, RouterId, WorkerId
from weir.domain.planning import PoolMembers, WorkerEndpoint
from weir.domain.profile import EngineProfile
from weir.fleet import RouterSettings
from weir.fleet.settings import StrictModel
from weir.runtime.clock import Clock

__all__ = [
    "STATIC_POOL",
    "Address",
    "RouterConfig",
    "RouterSettings",
    "UsageError",
    "clock",
    "parse_address",
    "router_config",
    "router_id",
    "static_fleet",
    "static_members",
]

STATIC_POOL = PoolId("default")
"""The one pool of a router that is given workers instead of a Fleet document."""

_STATIC_PROFILE = EngineProfile(kv_tokens=4_000_000, max_sequences=4096, max_batched_tokens=32_768)
"""Bounds far above any engine's: nothing is known of these, and they queue by themselves."""

_UNKNOWN_CONTEXT_TOKENS = 2**31


class UsageError(WeirError):
    """The command line cannot be used as it is."""


class Address(StrictModel):
    host: str
    port: Annotated[int, Field(ge=0, le=65535)]

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class RouterConfig(StrictModel):
    router_id: RouterId
    """Names this router in traffic samples; another one for each router of a fleet."""

    fleet: InstanceOf[Fleet]
    """Models, classes and pools it routes to."""

    settings: RouterSettings = RouterSettings()
    """The Fleet document's router section."""

    workers: tuple[InstanceOf[PoolMembers], ...] = ()
    """Workers given on the command line; what planners say replaces them."""

    listen: Address
    """The public endpoint."""

    control: Address = Address(host="127.0.0.1", port=0)
    """/livez, /readyz and /metrics for operators."""

    grpc: Address | None = None
    """Where Router.Route is served; None: nowhere."""

    nats_url: str | None = None
    """Where members and plan come from and traffic goes to; None: neither."""

    clock: InstanceOf[Clock] = Clock()
    """Model time."""

    drain_timeout_s: Annotated[float, Field(ge=0.0)] = 30.0
    """Wall seconds after SIGTERM in which running requests may end."""

    drain_notice_s: Annotated[float, Field(ge=0.0)] = 0.0
    """Wall seconds after SIGTERM in which requests are still taken, readiness failing."""


def router_config(**fields: Any) -> RouterConfig:
    """The configuration of these fields. Raises `UsageError` naming the one out of range."""
    try:
        return RouterConfig(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        flag = "--" + str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"{flag}: {first['msg']}") from None


def clock(speed: float, origin_s: float) -> Clock:
    """Raises `UsageError` if `speed` is not a finite number above 0."""
    if not (math.isfinite(speed) and speed > 0.0 and math.isfinite(origin_s)):
        raise UsageError(f"--speed must be a finite number above 0, not {speed:g}")
    return Clock(speed=speed, origin_s=origin_s)


def parse_address(flag: str, text: str) -> Address:
    """HOST:PORT as a flag has it. Raises `UsageError`."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"{flag} must be HOST:PORT, not {text!r}")
    return Address(host=host.removeprefix("[").removesuffix("]"), port=int(port))


def router_id(name: str) -> RouterId:
    """`name` as one word of a NATS subject."""
    return RouterId(re.sub(r"[^A-Za-z0-9_-]+", "-", name) or "router")


def static_fleet(models: Sequence[str]) -> Fleet:
    """One aggregated pool for the model (further names are aliases), without any target."""
    name = ModelName(models[0])
    pool = PoolSpec(
        id=STATIC_POOL,
        role=Role.AGG,
        model=name,
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
        pools=(pool,),
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
        raise UsageError(
            f"--worker {text}: with --fleet it must be POOL=URL, POOL one of {', '.join(pools)}"
        )
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
