"""What the simulated roles share: time, network, store, and how they find each other."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from weir.domain.telemetry import ForwardPassSample, TrafficSample
from weir.simulator.network import Network
from weir.simulator.process import Process, SkewedClock
from weir.simulator.store import Store

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["Plane", "Skew"]


@dataclass(slots=True, kw_only=True)
class Skew:
    """How far clocks of processes started from now on may be off; a fault sets it.

    `offset_s`: of the monotonic clocks, which have no common origin anyhow; `drift`: how much
    faster or slower they run; `utc_s`: of the time of day, which numbers a process's messages.
    """

    offset_s: float = 0.0
    drift: float = 0.0
    utc_s: float = 0.0


@dataclass(slots=True, kw_only=True)
class Plane:
    """The control plane of one world."""

    world: "World"
    network: Network
    store: Store
    cluster: Process
    """The API server through which replicas are listed, started and stopped."""
    rng: Random
    skew: Skew = field(default_factory=Skew)
    on_traffic: list[tuple[Process, Callable[[TrafficSample], None]]] = field(default_factory=list)
    on_forward_pass: dict[str, tuple[Process, Callable[[ForwardPassSample], None]]] = field(
        default_factory=dict
    )
    """By pool."""

    @classmethod
    def of(cls, world: "World") -> "Plane":
        network = Network(
            world.events, world.random("network"), delay_s=world.settings.network_delay_s
        )
        plane = cls(
            world=world,
            network=network,
            store=Store(network),
            cluster=Process("cluster"),
            rng=world.random("plane"),
        )
        plane.cluster.start()
        plane.store.process.start()
        return plane

    def clock(self) -> SkewedClock:
        """The clock of a process that starts now."""
        skew, rng = self.skew, self.rng
        return SkewedClock(
            events=self.world.events,
            offset_s=rng.uniform(0.0, skew.offset_s),
            drift=rng.uniform(-skew.drift, skew.drift),
        )

    def started_ms(self) -> int:
        """The time of day of a process that starts now, from which it begins to count."""
        utc_s = self.world.now_s + 1e9 + self.rng.uniform(-self.skew.utc_s, self.skew.utc_s)
        return int(utc_s * 1000.0)
