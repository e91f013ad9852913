"""The policy that all simple scalers share: look at the pools in an interval, start and stop.

Calls go through the plain gateway. Engines take no more calls at once than their document's
profile says they can within the ITL target.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from weir.domain.ids import PoolId
from weir.simulator.gateway.plain import PlainGateway
from weir.simulator.gateway.port import Gateway
from weir.simulator.homes import homes_of
from weir.simulator.policies.caps import document_caps
from weir.simulator.policies.deployments import Deployments
from weir.simulator.policies.observer import Observer
from weir.simulator.policies.scaler import Scaler

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["Autoscaled", "plain_gateway"]

Counts = Mapping[PoolId, int]


def plain_gateway(world: "World") -> PlainGateway:
    """Static homes, least-loaded replicas, caps by the document."""
    homes = homes_of(world.fleet, world.fleet.models[0].name)
    return PlainGateway(world, homes, document_caps(world.scenario, homes))


class Autoscaled:
    """`first`: replicas that are there from the beginning, the same for all who scale."""

    def __init__(
        self,
        scaler: Callable[["World"], Scaler],
        first: Callable[["World"], Counts] = lambda world: world.scenario.first_size,
    ) -> None:
        self._scaler = scaler
        self._first = first
        self._gateway: PlainGateway | None = None

    def gateway(self, world: "World") -> Gateway:
        self._gateway = plain_gateway(world)
        return self._gateway

    def start(self, world: "World") -> None:
        assert self._gateway is not None
        self._gateway.attach()
        deployments = Deployments(world)
        deployments.place(self._first(world))
        scale(world, self._scaler(world), deployments, Observer(world))


def scale(world: "World", scaler: Scaler, deployments: Deployments, observer: Observer) -> None:
    """Let the scaler decide every interval, for the first time one interval into the trace."""

    def look() -> None:
        wishes = scaler.desired(observer.look(deployments.wanted), world.now_s)
        for pool_id, wish in wishes.items():
            deployments.want(pool_id, wish.replicas, wish.reason)

    start_s = world.scenario.start_s
    world.events.at(start_s, lambda _: observer.look(deployments.wanted))
    world.every(scaler.interval_s, look, first_s=start_s - world.now_s + scaler.interval_s)
