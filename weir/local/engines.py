"""Engine processes of this machine: start, watch, stop. What the actuator serves acts here.

Invariant: every replica in the table has exactly one child and one watcher until it is gone.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from weir.domain.fleet import Fleet, PoolSpec
from weir.local.gpus import GpuMeter
from weir.local.ports import Ports
from weir.local.replicas import Refusal, Replica, ReplicaState, ReplicaTable
from weir.local.supervisor import Child, ChildSpec
from weir.runtime.clock import Clock

__all__ = ["EngineCommand", "EngineProbe", "Engines"]

_log = logging.getLogger("weir.local.engines")
_STARTING_POLL_S = 0.15
_READY_POLL_S = 1.0
_MISSES_ALLOWED = 3
_SHORTEST_DRAIN_S = 1.0

EngineCommand = Callable[[Replica], Sequence[str]]
"""The command line that runs a replica's engine."""


class EngineProbe(Protocol):
    """How an engine is asked; answers come within a short deadline, or say that none came."""

    async def ready(self, port: int) -> bool: ...

    async def in_flight(self, port: int) -> int | None: ...

    def forget(self, port: int) -> None: ...


@dataclass(slots=True)
class _Running:
    child: Child
    watcher: asyncio.Task[None] | None = None
    killer: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class Engines:
    fleet: Fleet
    clock: Clock
    ports: Ports
    logs: Path
    command: EngineCommand
    probe: EngineProbe
    on_change: Callable[[], None] = lambda: None
    """Called after every change of a replica's state."""
    on_death: Callable[[Child], None] = lambda _: None
    """Called when an engine ends by itself; it is restarted."""
    table: ReplicaTable = field(init=False)
    _running: dict[str, _Running] = field(default_factory=dict)
    _closing: bool = False
    restarts: dict[str, int] = field(default_factory=dict)
    """Restarts by pool, those of replicas that are gone included."""

    def __post_init__(self) -> None:
        self.table = ReplicaTable(
            self.fleet, GpuMeter(self.fleet.budget.widest, at_s=self.clock.now_s())
        )

    def start(self, pool: PoolSpec) -> Replica | Refusal:
        """Start one replica of `pool`, if the machine has the GPUs."""
        if self._closing:
            return Refusal("the fleet is being stopped")
        port = self.ports.take()
        entry = self.table.add(pool, port, self.clock.now_s())
        if isinstance(entry, Refusal):
            self.ports.give_back(port)
            return entry
        spec = ChildSpec(
            name=entry.id, command=self.command(entry), log=self.logs / f"{entry.id}.log"
        )
        child = Child(
            spec,
            on_death=lambda child: self._died(entry, child),
            on_gone=lambda _: self._gone(entry),
        )
        running = self._running[entry.id] = _Running(child)
        child.start()
        running.watcher = asyncio.create_task(self._watch(entry), name=f"watch {entry.id}")
        self.on_change()
        return entry

    def stop(self, replica: Replica, drain_s: float) -> None:
        """Ask a replica to finish its streams and end; kill it after `drain_s` model seconds."""
        if not self.table.terminate(replica):
            return
        running = self._running[replica.id]
        running.child.ask_to_stop()
        wall_s = max(_SHORTEST_DRAIN_S, self.clock.wall_span_s(drain_s))
        running.killer = asyncio.get_running_loop().call_later(wall_s, running.child.kill)
        self.on_change()

    def children(self) -> Sequence[Child]:
        return [running.child for running in self._running.values()]

    def close(self) -> None:
        """Start nothing more and stop watching; the children are stopped by the caller."""
        self._closing = True
        for running in self._running.values():
            _cancel(running)

    async def _watch(self, replica: Replica) -> None:
        """Follow the health of one replica; a few missed checks in a row are overlooked."""
        misses = 0
        child = self._running[replica.id].child
        while True:
            pid = child.pid
            healthy = pid is not None and await self.probe.ready(replica.port)
            misses = 0 if healthy else misses + 1
            changed = healthy != (replica.state is ReplicaState.READY)
            if changed and child.pid == pid and (healthy or misses >= _MISSES_ALLOWED):
                self._set_ready(replica, healthy)
            if replica.state is not ReplicaState.STARTING:
                replica.in_flight = await self.probe.in_flight(replica.port)
            starting = replica.state is ReplicaState.STARTING
            await asyncio.sleep(_STARTING_POLL_S if starting else _READY_POLL_S)

    def _set_ready(self, replica: Replica, ready: bool) -> None:
        if replica.state is ReplicaState.TERMINATING:
            return
        _log.info("%s %s port=%d", replica.id, "ready" if ready else "not ready", replica.port)
        self.table.set_ready(replica, ready)
        self.on_change()

    def _died(self, replica: Replica, child: Child) -> None:
        pool = replica.pool.id
        self.restarts[pool] = self.restarts.get(pool, 0) + 1
        self.table.set_ready(replica, False)
        self.on_change()
        self.on_death(child)

    def _gone(self, replica: Replica) -> None:
        if running := self._running.pop(replica.id, None):
            _cancel(running)
        self.probe.forget(replica.port)
        self.table.remove(replica, self.clock.now_s())
        self.on_change()


def _cancel(running: _Running) -> None:
    if running.watcher:
        running.watcher.cancel()
    if running.killer:
        running.killer.cancel()
