"""What one router process is told: flags, and the Fleet document they name."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, InstanceOf, ValidationError

from weir.domain.errors import WeirError
from weir.domain.fleet import Fleet
from weir.domain.grid import Grid
from weir.domain.ids import ModelName, RouterId
from weir.domain.planning import PoolMembers
from weir.fleet import RouterSettings
from weir.fleet.dynamo_grid_source import GridSource
from weir.fleet.settings import StrictModel
from weir.runtime.address import split_address
from weir.runtime.clock import Clock
from weir.runtime.tls import ListenerTls

__all__ = [
    "Address",
    "RouterConfig",
    "RouterSettings",
    "UsageError",
    "parse_address",
    "require_extras",
    "router_config",
    "router_id",
    "tokenizer_sources",
]


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

    folder: Path = Path()
    """Where the Fleet document lies: its relative paths begin there."""

    grid: InstanceOf[Grid] | None = None
    """Where requests of its pools' model go as long as no plan says."""

    grid_source: InstanceOf[GridSource] | None = None
    """The file that it is from, which may change."""

    workers: tuple[InstanceOf[PoolMembers], ...] = ()
    """Workers given on the command line; what planners say replaces them."""

    listen: Address
    """The public endpoint."""

    tls: ListenerTls | None = None
    """Certificate and key of the public endpoint; None: it speaks plain HTTP."""

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


def tokenizer_sources(config: RouterConfig) -> dict[ModelName, str]:
    """Where each model's tokenizer is: an encoding of tiktoken, or a path."""
    return {
        ModelName(name): source if source.startswith("tiktoken:") else str(config.folder / source)
        for name, source in config.settings.tokenizers.items()
    }


def require_extras(fleet: Fleet) -> None:
    """Raises `UsageError` if the fleet has KV events to be read, and what reads them lacks."""
    if any(pool.kv_events for pool in fleet.pools) and find_spec("zmq") is None:
        raise UsageError(
            "kv_events need pyzmq: install weir[kv-events], or leave them out of the pools"
        )


def parse_address(flag: str, text: str) -> Address:
    """HOST:PORT as a flag has it. Raises `UsageError`."""
    try:
        return Address(**split_address(text)._asdict())
    except ValueError as error:
        raise UsageError(f"{flag} {error}") from None


def router_id(name: str) -> RouterId:
    """`name` as one word of a NATS subject."""
    return RouterId(re.sub(r"[^A-Za-z0-9_-]+", "-", name) or "router")
