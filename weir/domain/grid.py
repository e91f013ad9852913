"""A static grid: which pool a request goes to, by prompt length, latency targets and priority.

The arithmetic is that of Dynamo's GlobalRouter operation by operation: a value on the border of
two cells is rounded to the same side.
"""

from dataclasses import dataclass
from math import isfinite

from weir.domain.ids import PoolId

__all__ = ["Axis", "Grid", "GridStage", "Override"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """`buckets` of equal width from `low` to `high`; `usual`: for requests without a value."""

    low: float
    high: float
    buckets: int
    usual: float

    def __post_init__(self) -> None:
        if self.buckets < 1:
            raise ValueError(f"an axis has at least one bucket, not {self.buckets}")
        if not (isfinite(self.usual) and isfinite(self.step) and self.step > 0.0):
            raise ValueError(f"no axis from {self.low:g} to {self.high:g} by {self.usual:g}")

    @property
    def step(self) -> float:
        return (self.high - self.low) / self.buckets

    def bucket(self, value: float | None) -> int:
        """The number of its bucket; the first or the last of a value outside."""
        at = ((self.usual if value is None else value) - self.low) / self.step
        if at < self.buckets:
            return int(at) if at > 0.0 else 0
        return self.buckets - 1

    @property
    def borders(self) -> list[float]:
        """Where one bucket ends and the next one begins."""
        return [self.low + i * self.step for i in range(1, self.buckets)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Requests of a priority from `low` to `high`, both included, go to the pool of this number."""

    low: int
    high: int
    pool: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GridStage:
    """The pools among which one choice is made; a pool's number is its place in `pools`.

    `cells`: numbers by ISL, TTFT and ITL bucket, the last one changing fastest; without an axis
    there is one bucket. `ranks`: of each pool, the lower the faster. Of `overrides` the first
    that holds counts.
    """

    pools: tuple[PoolId, ...]
    ranks: tuple[int, ...]
    cells: tuple[int, ...]
    isl_tokens: Axis | None = None
    ttft_ms: Axis | None = None
    itl_ms: Axis | None = None
    overrides: tuple[Override, ...] = ()

    def __post_init__(self) -> None:
        size = 1
        for axis in (self.isl_tokens, self.ttft_ms, self.itl_ms):
            size *= 1 if axis is None else axis.buckets
        if len(self.cells) != size:
            raise ValueError(f"{size} cells are needed, there are {len(self.cells)}")
        if len(self.ranks) != len(self.pools):
            raise ValueError(f"{len(self.pools)} pools have {len(self.ranks)} ranks")
        numbers = {*self.cells, *(each.pool for each in self.overrides)}
        if not numbers <= set(range(len(self.pools))):
            raise ValueError(f"there are {len(self.pools)} pools, cells name {sorted(numbers)}")

    def choose(
        self,
        isl_tokens: float | None,
        ttft_ms: float | None,
        itl_ms: float | None,
        priority: int | None,
    ) -> int:
        """The number of the request's pool. None: it has no such value. Values are finite."""
        if priority is not None:
            for override in self.overrides:
                if override.low <= priority <= override.high:
                    return override.pool
        cell = 0
        if self.isl_tokens is not None:
            cell = self.isl_tokens.bucket(isl_tokens)
        if self.ttft_ms is not None:
            cell = cell * self.ttft_ms.buckets + self.ttft_ms.bucket(ttft_ms)
        if self.itl_ms is not None:
            cell = cell * self.itl_ms.buckets + self.itl_ms.bucket(itl_ms)
        return self.cells[cell]

    def faster(self, number: int) -> list[int]:
        """The pools of a strictly lower rank, the nearest rank first, equal ones as they come."""
        rank = self.ranks[number]
        lower = [other for other, its in enumerate(self.ranks) if its < rank]
        return sorted(lower, key=lambda other: -self.ranks[other])


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """`decode` is None if the pools of `head` do both stages.

    `retries`: where a pool fails, the faster ones are tried.
    """

    head: GridStage
    decode: GridStage | None = None
    retries: bool = False

    @property
    def isl_borders(self) -> frozenset[float]:
        """Prompt lengths at which a request's cell changes."""
        axes = (each.isl_tokens for each in (self.head, self.decode) if each is not None)
        return frozenset(border for axis in axes if axis is not None for border in axis.borders)

    def order(self, stage: GridStage, number: int) -> tuple[PoolId, ...]:
        """The pool of this number, and those that are tried after it, each once."""
        numbers = [number, *(stage.faster(number) if self.retries else ())]
        return tuple(dict.fromkeys(stage.pools[each] for each in numbers))
