"""The grid in front of the plain gateway: it chooses pools, and a router in each a replica."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weir.simulator.call import Call
from weir.simulator.gateway.front import Front
from weir.simulator.gateway.plain import Cap, PlainGateway
from weir.simulator.homes import Homes
from weir.simulator.policies.dynamo.grid import Axis, Grid, grid_of
from weir.simulator.policies.traffic import TrafficMeter

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["GridGateway"]

_Row = tuple[Axis, list[Front]]


class GridGateway(PlainGateway):
    """A call brings its class's targets with it; of its class the grid knows nothing else.

    `meter` is told of each leg that comes to a pool.
    """

    def __init__(self, world: "World", homes: Homes, cap: Cap, meter: TrafficMeter) -> None:
        super().__init__(world, homes, cap)
        self._meter = meter
        classes = world.fleet.classes
        ttft, itl = [c.slo.ttft_s for c in classes], [c.slo.itl_s for c in classes]
        both = list(zip(ttft, itl, strict=True))
        if any(homes.decode):
            heads = [(target_s,) for target_s in ttft]
            tails = [(target_s,) for target_s in itl]
            self._head_rows = self._rows(grid_of(classes, heads, homes.prefill), heads)
            self._tail_rows = self._rows(grid_of(classes, tails, homes.decode), tails)
        else:
            self._head_rows = self._rows(grid_of(classes, both, homes.prefill), both)
            self._tail_rows = []

    def head(self, call: Call) -> Front:
        return self._counted(self._head_rows, call)

    def tail(self, call: Call) -> Front:
        return self._counted(self._tail_rows, call)

    def _counted(self, rows: list[_Row], call: Call) -> Front:
        axis, fronts = rows[call.class_index]
        front = fronts[axis.bucket(call.isl_tokens)]
        self._meter.arrived(front.pool_id, call)
        return front

    def _rows(self, grid: Grid, targets_s: Sequence[Sequence[float]]) -> list[_Row]:
        """By class, as its targets are known: the fronts along the axis of lengths."""
        axis = grid.lengths
        rows = []
        for own_s in targets_s:
            middles = (int(axis.middle(row)) for row in range(axis.resolution))
            rows.append((axis, [self.fronts[grid.pool(isl, own_s)] for isl in middles]))
        return rows
