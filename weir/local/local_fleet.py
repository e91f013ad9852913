"""All processes of one fleet on this machine: start, wait until it serves, stop in order.

Stop order: first whoever decides or admits (planners, router), then the engines, then NATS,
so that nobody acts on the disappearance of the others.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from weir.api.v1 import pool_pb2_grpc
from weir.domain.errors import UnavailableError
from weir.domain.fleet import Fleet
from weir.local.actuator import ActuatorServicer
from weir.local.commands import Addresses, Commands, write_profiles
from weir.local.engines import Engines
from weir.local.monitor import Monitor
from weir.local.ports import HOST, Ports
from weir.local.probe import HttpProbe
from weir.local.process import tail
from weir.local.replicas import Replica
from weir.local.supervisor import Child, ChildSpec
from weir.local.workspace import Workspace
from weir.runtime import rpc
from weir.runtime.clock import Clock
from weir.runtime.lifecycle import Stop
from weir.runtime.nats_server import server_command

__all__ = ["LocalFleet", "NotReadyError"]

_log = logging.getLogger("weir.local")
_DEATHS_AT_START = 5
_POLL_S = 0.1
_SLACK_S = 60.0
"""Wall seconds that a start may take in addition to the engines' start-up time."""
_FRONT_GRACE_S = 2.5
_ENGINE_GRACE_S = 1.5
_NATS_GRACE_S = 1.0
_KILLED_GRACE_S = 0.5
_TAIL_LINES = 5


class NotReadyError(UnavailableError):
    """The fleet does not serve within its time; the message says who is missing."""


class LocalFleet:
    """Create, `start`, `wait_ready`; always `close`. `public_port` is that of the endpoint."""

    def __init__(
        self,
        fleet: Fleet,
        fleet_arguments: Sequence[str],
        *,
        public_port: int,
        clock: Clock,
        workspace: Workspace,
    ) -> None:
        self.fleet = fleet
        self.clock = clock
        self.public_port = public_port
        self._fleet_arguments = fleet_arguments
        self._workspace = workspace
        self._ports = Ports()
        self._probe = HttpProbe()
        self._actuator: rpc.RpcServer | None = None
        self._commands: Commands | None = None
        self._roles: list[Child] = []
        self._nats: Child | None = None
        self._monitor: Monitor | None = None
        self.serving = False
        """Whether the fleet has been ready."""
        self.engines = Engines(
            fleet=fleet,
            clock=clock,
            ports=self._ports,
            logs=workspace.logs,
            command=self._engine_command,
            probe=self._probe,
        )

    @property
    def planner_address(self) -> str:
        """Where the GlobalPlanner answers `weir status` and the like."""
        if self._commands is None:
            raise RuntimeError("the fleet has not been started")
        return f"{HOST}:{self._commands.addresses.global_planner}"

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.public_port}"

    @property
    def monitor(self) -> Monitor:
        if self._monitor is None:
            raise RuntimeError("the fleet has not been started")
        return self._monitor

    @property
    def at_minimum(self) -> bool:
        """Whether no pool holds more replicas than its minimum."""
        held = {pool.id: self.engines.table.state(pool.id).held for pool in self.fleet.pools}
        return all(held[pool.id] <= pool.min_replicas for pool in self.fleet.pools)

    @property
    def roles(self) -> Sequence[Child]:
        """NATS, the planners and the router."""
        return [*([self._nats] if self._nats else []), *self._roles]

    async def start(self) -> None:
        """Start everything at once; who needs another waits for it by itself."""
        self._actuator = await rpc.serve(f"{HOST}:{self._ports.take()}", self._register)
        pools = [f"pool-planner-{pool.id}" for pool in self.fleet.pools]
        roles = ["global-planner", *pools, "router"]
        addresses = Addresses.choose(self._ports, self.public_port, self._actuator.port, roles)
        profiles = self._workspace.path / "profiles"
        write_profiles(self.fleet.pools, profiles)
        self._commands = Commands(
            fleet=self.fleet,
            fleet_arguments=self._fleet_arguments,
            addresses=addresses,
            clock=self.clock,
            profiles=profiles,
        )
        self._start_roles(self._commands)
        self._monitor = Monitor(self.fleet, addresses, self.clock, self._probe)
        await self._monitor.start()

    async def wait_ready(self, stop: Stop) -> bool:
        """Wait until every pool has its minimum and the router is ready; False if stopped.

        Raises `NotReadyError` at the deadline and `ChildError` for a child that cannot start.
        """
        slowest_s = max(pool.start_up_s for pool in self.fleet.pools)
        deadline_s = Clock.wall_s() + self.clock.wall_span_s(slowest_s) + _SLACK_S
        while not stop.requested:
            self._refuse_hopeless()
            missing = await self._missing()
            if not missing:
                self.engines.table.begin_history()
                self.serving = True
                return True
            if Clock.wall_s() > deadline_s:
                raise NotReadyError(self._why_not(missing))
            await stop.sleep(_POLL_S)
        return False

    async def close(self, hurry: asyncio.Event) -> None:
        """Stop every child, in order; within 10 s, at once when `hurry` is set."""
        self.engines.close()
        await asyncio.gather(self._close_monitor(), _end(self._roles, _FRONT_GRACE_S, hurry))
        await _end(self.engines.children(), _ENGINE_GRACE_S, hurry)
        if self._actuator:
            await self._actuator.close(grace_s=0.1)
        self._probe.close()
        if self._nats:
            await _end([self._nats], _NATS_GRACE_S, hurry)

    async def _close_monitor(self) -> None:
        if self._monitor:
            await self._monitor.close()

    def _register(self, server: Any) -> None:
        servicer = ActuatorServicer(self.engines)
        pool_pb2_grpc.add_LocalActuatorServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]

    def _engine_command(self, replica: Replica) -> Sequence[str]:
        if self._commands is None:
            raise RuntimeError("the fleet has not been started")
        return self._commands.engine(replica)

    def _start_roles(self, commands: Commands) -> None:
        store = self._workspace.path / "nats"
        self._nats = self._child("nats", server_command(commands.addresses.nats, store))
        self._roles = [
            self._child("global-planner", commands.global_planner()),
            *(
                self._child(f"pool-planner-{pool.id}", commands.pool_planner(pool.id))
                for pool in self.fleet.pools
            ),
            self._child("router", commands.router()),
        ]
        for child in self.roles:
            child.start()

    def _child(self, name: str, command: Sequence[str]) -> Child:
        return Child(ChildSpec(name=name, command=command, log=self._workspace.log(name)))

    def _refuse_hopeless(self) -> None:
        for child in (*self.roles, *self.engines.children()):
            if child.deaths_in_a_row >= _DEATHS_AT_START:
                raise child.error()

    async def _missing(self) -> list[str]:
        """Who is not ready yet, and why; empty if the fleet serves."""
        missing = [
            f"pool {pool.id} has {ready} of {pool.min_replicas} replicas ready"
            for pool in self.fleet.pools
            if (ready := self.engines.table.state(pool.id).ready) < pool.min_replicas
        ]
        if not missing:
            answer = await self._probe.get(self.public_port, "/readyz")
            if answer is None:
                missing.append("the router does not answer")
            elif answer[0] != 200:
                reason = answer[1][:200].decode(errors="replace").strip()
                missing.append(f"the router is not ready: {reason}")
        return missing

    def _why_not(self, missing: Sequence[str]) -> str:
        holding = self.monitor.status.holding if self.monitor.status else "no answer"
        said = f"the GlobalPlanner holds: {holding}\n" if holding else ""
        logs = "\n".join(
            f"last lines of {child.name}:\n{tail(child.spec.log, _TAIL_LINES) or '(empty)'}"
            for child in self._roles
        )
        return f"the fleet is not ready in time: {'; '.join(missing)}\n{said}{logs}"


async def _end(children: Sequence[Child], grace_s: float, hurry: asyncio.Event) -> None:
    """SIGTERM to all, SIGKILL to those that are left after the grace or on `hurry`."""
    for child in children:
        child.ask_to_stop()
    gone = asyncio.gather(*(child.gone_within(grace_s) for child in children))
    waiting = asyncio.create_task(hurry.wait())
    both: tuple[asyncio.Future[Any], ...] = (gone, waiting)
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for child in children:
        if child.pid is not None:
            _log.warning("%s does not end, killing it", child.name)
            child.kill()
    await asyncio.gather(*(child.gone_within(_KILLED_GRACE_S) for child in children))
