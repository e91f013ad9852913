"""Its GlobalRouter's table: (prompt tokens, latency target) -> pool, in buckets of equal width.

Written once from the fleet document, as its operator would: an axis is cut where the classes
are, and each cell belongs to the first class that its middle is in. The router knows no load,
no output length and no context limit; what is off the table goes into its last rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from weir.domain.fleet import RequestClass
from weir.domain.ids import PoolId

__all__ = ["Axis", "Grid", "grid_of"]

_MOST_BUCKETS = 64
_ROWS_FOR_SEVERAL = 32
_ONE_ROW_TOKENS = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    low: float
    high: float
    resolution: int

    def bucket(self, value: float) -> int:
        step = (self.high - self.low) / self.resolution
        return max(0, min(self.resolution - 1, int((value - self.low) / step)))

    def middle(self, bucket: int) -> float:
        return self.low + (bucket + 0.5) * (self.high - self.low) / self.resolution


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """`cells` by the buckets of the prompt and of each target."""

    lengths: Axis
    targets: tuple[Axis, ...]
    cells: Mapping[tuple[int, ...], PoolId]

    def pool(self, prompt_tokens: int, targets_s: Sequence[float]) -> PoolId:
        columns = _buckets(self.targets, targets_s)
        return self.cells[self.lengths.bucket(prompt_tokens), *columns]


def grid_of(
    classes: Sequence[RequestClass],
    targets_s: Sequence[Sequence[float]],
    homes: Sequence[Sequence[PoolId]],
) -> Grid:
    """`targets_s` and `homes` are by class. Pools that share a class take its rows in turn."""
    lengths = _length_axis(classes, several=any(len(pools) > 1 for pools in homes))
    axes = tuple(_target_axis(sorted(set(along))) for along in zip(*targets_s, strict=True))
    places = [_buckets(axes, own) for own in targets_s]
    cells = {}
    for row in range(lengths.resolution):
        isl_tokens = lengths.middle(row)
        for columns in product(*(range(axis.resolution) for axis in axes)):
            own = homes[_owner(classes, places, isl_tokens, columns)]
            cells[row, *columns] = own[row % len(own)]
    return Grid(lengths=lengths, targets=axes, cells=cells)


def _buckets(axes: Sequence[Axis], targets_s: Sequence[float]) -> tuple[int, ...]:
    return tuple(axis.bucket(value) for axis, value in zip(axes, targets_s, strict=True))


def _owner(
    classes: Sequence[RequestClass],
    places: Sequence[tuple[int, ...]],
    isl_tokens: float,
    columns: tuple[int, ...],
) -> int:
    """The first class of the nearest targets whose prompts are so long, or those targets' first."""
    away = [sum(abs(a - b) for a, b in zip(place, columns, strict=True)) for place in places]
    near = [index for index, distance in enumerate(away) if distance == min(away)]
    return next((index for index in near if isl_tokens in classes[index].isl_tokens), near[0])


def _length_axis(classes: Sequence[RequestClass], *, several: bool) -> Axis:
    """Cut where a class begins or ends, as well as equal buckets can."""
    ends = {end for c in classes for end in (c.isl_tokens.low, c.isl_tokens.high) if end}
    high = float(2 * max(ends)) if ends else float(_ONE_ROW_TOKENS)
    least = _ROWS_FOR_SEVERAL if several else 1

    def missed(resolution: int) -> float:
        shares = [end / high * resolution for end in ends]
        return max((abs(share - round(share)) / resolution for share in shares), default=0.0)

    resolution = min(range(least, _MOST_BUCKETS + 1), key=lambda r: (round(missed(r), 3), r))
    return Axis(low=0.0, high=high, resolution=resolution)


def _target_axis(targets_s: Sequence[float]) -> Axis:
    """The fewest buckets that keep the targets apart."""
    if len(targets_s) == 1:
        return Axis(low=0.5 * targets_s[0], high=2.0 * targets_s[0], resolution=1)
    axis = Axis(low=targets_s[0], high=targets_s[-1], resolution=1)
    for resolution in range(len(targets_s), _MOST_BUCKETS + 1):
        axis = Axis(low=axis.low, high=axis.high, resolution=resolution)
        if len({axis.bucket(target_s) for target_s in targets_s}) == len(targets_s):
            break
    return axis
