"""The command line of every child of a local fleet, and the addresses they share."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from weir.domain.fleet import Fleet, PoolSpec
from weir.domain.ids import ModelName, PoolId
from weir.domain.profile import EngineProfile, PolynomialTiming
from weir.local.ports import HOST, Ports
from weir.local.replicas import Replica
from weir.runtime.clock import Clock

__all__ = ["Addresses", "Commands", "write_profiles"]

_WEIR = (sys.executable, "-P", "-m", "weir")
_NO_LIMIT_S = 1e6
_GLOBAL_PLANNER_PORT = 7000
"""Where `weir status` and the like look by default, if it is free."""
"""How long an engine drains is decided by who stops it, and kills it when the time is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Loopback ports of one run, the same across restarts of the children."""

    public: int
    nats: int
    actuator: int
    global_planner: int
    control: dict[str, int]
    """Control port of each role by the name of its child."""

    @classmethod
    def choose(cls, ports: Ports, public: int, actuator: int, roles: Sequence[str]) -> "Addresses":
        return cls(
            public=public,
            nats=ports.take(),
            actuator=actuator,
            global_planner=ports.take(_GLOBAL_PLANNER_PORT),
            control={role: ports.take() for role in roles},
        )

    @property
    def nats_url(self) -> str:
        return f"nats://{HOST}:{self.nats}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """Builds command lines. `fleet_arguments` are `--fleet FILE [--set path=value ...]`."""

    fleet: Fleet
    fleet_arguments: Sequence[str]
    addresses: Addresses
    clock: Clock
    profiles: Path
    """Folder with `<pool>.json`, as `write_profiles` leaves it."""

    def global_planner(self) -> list[str]:
        return [
            *self._role("global-planner"),
            *("--listen", f"{HOST}:{self.addresses.global_planner}"),
        ]

    def pool_planner(self, pool_id: PoolId) -> list[str]:
        return [
            *self._role("pool-planner", f"pool-planner-{pool_id}"),
            *("--pool", pool_id),
            *("--global-planner", f"{HOST}:{self.addresses.global_planner}"),
            *("--actuator", f"{HOST}:{self.addresses.actuator}"),
        ]

    def router(self) -> list[str]:
        return [*self._role("router"), *("--listen", f"{HOST}:{self.addresses.public}")]

    def engine(self, replica: Replica) -> list[str]:
        pool = replica.pool
        return [
            *_WEIR,
            "mocker",
            *("--listen", f"{HOST}:{replica.port}"),
            *("--model", pool.model, *self._aliases(pool.model)),
            *("--context-limit-tokens", str(pool.context_limit_tokens)),
            *("--profile", str(self.profiles / f"{pool.id}.json")),
            *("--role", pool.role),
            *("--pool", pool.id),
            *("--worker-id", replica.id),
            *("--fleet-name", self.fleet.name),
            *("--nats", self.addresses.nats_url),
            *("--start-up-s", repr(pool.start_up_s)),
            *("--drain-timeout-s", repr(_NO_LIMIT_S)),
            *_kv_events(replica),
            *self._time(),
        ]

    def _aliases(self, name: ModelName) -> Sequence[str]:
        return next(model.aliases for model in self.fleet.models if model.name == name)

    def _role(self, command: str, child: str | None = None) -> list[str]:
        return [
            *_WEIR,
            command,
            *self.fleet_arguments,
            *("--nats", self.addresses.nats_url),
            *("--control", f"{HOST}:{self.addresses.control[child or command]}"),
            *self._time(),
        ]

    def _time(self) -> list[str]:
        return ["--speed", repr(self.clock.speed), "--clock-origin-s", repr(self.clock.origin_s)]


def _kv_events(replica: Replica) -> list[str]:
    """Ports that all share cannot be had by several engines on this machine."""
    kv_events = replica.pool.kv_events
    if kv_events is None or not kv_events.per_worker:
        return []
    port, replay_port = kv_events.ports(replica.port)
    replay = [] if replay_port is None else ["--kv-replay-port", str(replay_port)]
    return ["--kv-events-port", str(port), *replay]


def write_profiles(pools: Sequence[PoolSpec], folder: Path) -> None:
    """One JSON file per pool, as `weir mocker --profile` reads it."""
    folder.mkdir()
    for pool in pools:
        (folder / f"{pool.id}.json").write_bytes(orjson.dumps(_profile_mapping(pool.profile)))


def _profile_mapping(profile: EngineProfile) -> dict[str, Any]:
    """The inverse of `weir.domain.profile.profile_from_mapping`."""
    fields = asdict(profile)
    kind = "polynomial" if isinstance(profile.timing, PolynomialTiming) else "table"
    return {**fields, "timing": {"kind": kind, **fields["timing"]}}
