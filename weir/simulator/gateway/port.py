"""What the simulated world needs of a gateway."""

from collections.abc import Mapping
from typing import Protocol

from weir.domain.ids import PoolId
from weir.simulator.call import Call
from weir.simulator.replica import Listener

__all__ = ["Gateway"]


class Gateway(Protocol):
    """Takes calls in and sees each to its end, which it tells the world with `World.end`."""

    def listeners(self) -> Mapping[PoolId, Listener]:
        """Who is to hear of the calls on each pool's replicas."""
        ...

    def arrive(self, call: Call) -> None:
        """A client has sent its call, for the first time or again after a refusal."""
        ...

    def cancel(self, call: Call) -> None:
        """The client has gone; the gateway drops whatever it has of the call."""
        ...

    def queued(self, pool_id: PoolId) -> int:
        """Calls that wait at the gateway for this pool."""
        ...
