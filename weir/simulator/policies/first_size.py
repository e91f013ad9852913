"""Every policy starts with the same replicas: the oracle's first size."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["place_first"]


def place_first(world: "World") -> None:
    """Put them into the cluster, ready."""
    for pool_id, count in world.scenario.first_size.items():
        world.cluster.place(pool_id, count)
