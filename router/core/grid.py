"""Pools by a static grid, for requests of which no plan says where they go.

A request's cell gives the pools that it may use, in the order in which they are tried. To the
rest of the router they are a model of their own: what these pools can hold and do is what counts
for the request, and it waits for them alone. The grid is asked once, when the request arrives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from router.core.admit import Admission, Sized, all_of, pools_too_short
from router.core.hints import HintRules
from router.core.lengths.outputs import OutputLengths
from router.core.lengths.prompts import PromptLengths
from router.core.pool import Pool
from router.core.pools import ModelPools, Pools, Shares
from router.core.request import RequestProfile
from router.core.shares import Turns
from weir.domain.fleet import RequestClass, Stage
from weir.domain.grid import Grid

__all__ = ["Cells", "GridAdmission"]

_DIGITS = 6
"""Of milliseconds: they come as seconds, and rounding must not move them over a border."""
_FINDS = frozenset({"ttft_s", "itl_s", "priority"})
"""Fields of a profile by which its cell is found."""


class Cells:
    """The grid's cells as models, each made when the first request comes for it."""

    def __init__(self, grid: Grid, pools: Pools) -> None:
        self._grid = grid
        self._pools = pools
        self._cells: dict[tuple[int, int | None], _Cell] = {}
        self.isl_borders = grid.isl_borders
        self.model = pools[grid.head.pools[0]].spec.model

    def of(self, model: ModelPools, profile: RequestProfile, isl_tokens: int) -> "_Cell":
        """The cell of a request for `model`, which is the one that the grid is for."""
        grid = self._grid
        later = profile.priority
        urgency = None if later is None else -later
        wanted = (isl_tokens, _ms(profile.ttft_s), _ms(profile.itl_s), urgency)
        head = grid.head.choose(*wanted)
        decode = None if grid.decode is None else grid.decode.choose(*wanted)
        cell = self._cells.get((head, decode))
        if cell is None:
            orders = {Stage.PREFILL: grid.order(grid.head, head)}
            if grid.decode is not None and decode is not None:
                orders[Stage.DECODE] = grid.order(grid.decode, decode)
            found = {s: tuple(map(self._pools.__getitem__, ids)) for s, ids in orders.items()}
            cell = self._cells[head, decode] = _Cell(model, found)
        return cell


class _Cell(ModelPools):
    """`elsewhere`: the model's other pools."""

    def __init__(self, model: ModelPools, orders: Mapping[Stage, tuple[Pool, ...]]) -> None:
        pools = [pool for order in orders.values() for pool in order]
        super().__init__(model.name, pools, model.legs)
        self.elsewhere = frozenset(p.id for p in model.pools) - {p.id for p in pools}
        self._ordered = {stage: _in_order(order) for stage, order in orders.items()}

    def ordered(self, stage: Stage) -> Shares | None:
        return self._ordered.get(stage)


class GridAdmission(Admission):
    """Sizes requests by their cells, unless a plan has shares for their class.

    The targets that a request states are for finding its cell: what it has to meet is what its
    class has to, so that they do not hold it back once they have brought it to its pools.
    """

    def __init__(
        self,
        cells: Cells,
        pools: Pools,
        classes: Sequence[RequestClass],
        prompts: PromptLengths,
        outputs: OutputLengths,
        rules: HintRules,
    ) -> None:
        super().__init__(pools, classes, prompts, outputs, rules)
        self._cells = cells
        self._isl_borders = (*self._isl_borders, *cells.isl_borders)

    def regrid(self, cells: Cells) -> None:
        """For the requests that come from now on."""
        self._cells = cells

    def size(self, profile: RequestProfile, *, any_length: bool = False) -> Sized:
        """Raises `RequestError` as any admission does; by the context of the cell's pools."""
        sized = super().size(profile, any_length=any_length)
        model = sized.model
        if model.name != self._cells.model or self._is_planned(sized):
            return sized
        cell = self._cells.of(model, profile, sized.isl_tokens)
        too_short = all_of(cell)
        if not any_length:
            too_short = pools_too_short(cell, profile, sized.isl_tokens, sized.osl_tokens)
        slo = sized.request_class.slo
        return replace(
            sized,
            model=cell,
            ttft_s=slo.ttft_s,
            itl_s=slo.itl_s,
            too_short=too_short | cell.elsewhere if too_short else cell.elsewhere,
        )

    def resize(self, sized: Sized, profile: RequestProfile) -> Sized:
        """The same in the same cell, if it has one."""
        renewed = super().resize(sized, profile)
        if not isinstance(sized.model, _Cell):
            return renewed
        slo = renewed.request_class.slo
        return replace(renewed, ttft_s=slo.ttft_s, itl_s=slo.itl_s)

    def denied(self, sized: Sized, profile: RequestProfile) -> tuple[str, ...]:
        """As in any admission, but for what has found the cell."""
        names = super().denied(sized, profile)
        if not isinstance(sized.model, _Cell):
            return names
        return tuple(name for name in names if name not in _FINDS)

    def _is_planned(self, sized: Sized) -> bool:
        return self._pools.shares(sized.request_class.name, sized.model, Stage.PREFILL).planned


def _in_order(pools: Sequence[Pool]) -> Shares:
    """What waits is waiting for the first of them."""
    return Shares(
        weights={pools[0].id: 1.0},
        turns=Turns(),
        spill=tuple(pools),
        others=(),
        planned=False,
        in_order=True,
    )


def _ms(target_s: float | None) -> float | None:
    return None if target_s is None else round(target_s * 1e3, _DIGITS)
