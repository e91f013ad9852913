"""Weir's routers as the gateway: clients are spread over those that are up."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from weir.domain.fleet import Role
from weir.domain.ids import PoolId
from weir.simulator.call import Call, End
from weir.simulator.replica import Listener, Replica
from weir.simulator.roles.router import Journey, RouterRole

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["WeirGateway"]


class WeirGateway:
    """`routers` are added when the world is complete."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.routers: list[RouterRole] = []

    def listeners(self) -> Mapping[PoolId, Listener]:
        return {spec.id: self._listener(spec.role) for spec in self._world.fleet.pools}

    def arrive(self, call: Call) -> None:
        routers = self.routers
        for offset in range(len(routers)):
            router = routers[(call.id + offset) % len(routers)]
            if router.process.alive:
                router.arrive(call)
                return
        self._world.end(call, End.FAILED)

    def cancel(self, call: Call) -> None:
        journey: Journey | None = call.state
        if journey is None:
            self._world.end(call, End.CANCELLED)
        else:
            journey.router.cancel(call)

    def queued(self, pool_id: PoolId) -> int:
        """Calls wait at the routers for a stage rather than for a pool: those of its class."""
        return sum(len(router.dispatch.waiting) for router in self.routers)

    def _listener(self, role: Role) -> Listener:
        if role is Role.PREFILL:
            return Listener(finished=_prefilled, lost=_lost)
        return Listener(first=_first, finished=_finished, lost=_lost)


def _prefilled(call: Call, replica: Replica) -> None:
    if call.state is not None:
        call.state.router.prefilled(call, replica)


def _first(call: Call, replica: Replica) -> None:
    if call.state is not None:
        call.state.router.first(call, replica)


def _finished(call: Call, replica: Replica) -> None:
    if call.state is not None:
        call.state.router.finished(call, replica)


def _lost(call: Call, replica: Replica) -> None:
    if call.state is not None:
        call.state.router.lost(call, replica)
