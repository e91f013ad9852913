"""What a policy is: a gateway for the calls, and whatever changes the number of replicas."""

from typing import TYPE_CHECKING, Protocol

from weir.simulator.gateway.port import Gateway

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["Policy"]


class Policy(Protocol):
    """Made anew for each run: it may keep state."""

    def gateway(self, world: "World") -> Gateway:
        """Called first; the cluster is not there yet."""
        ...

    def start(self, world: "World") -> None:
        """The world is complete: place the first replicas, begin to plan."""
        ...
