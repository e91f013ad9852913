"""The pool tables of Dynamo's GlobalRouter as they are written: its keys, defaults and bounds.

The names are those of Dynamo 1.6 and, as other names for them, those of earlier releases. What
has to fit together is checked by `dynamo_grid_checks`.
"""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from weir.domain.fleet import Role

__all__ = ["AXES", "MODES", "AggGrid", "DisaggGrid", "PoolTable", "PriorityRange", "tables"]

Buckets = Annotated[int, Field(ge=1, le=1_000_000)]
Pools = Annotated[int, Field(ge=1, le=1_000_000)]
Bound = Annotated[float, Field(ge=-1e12, le=1e12)]
Integer = Annotated[int, Field(ge=-(2**63), le=2**63)]
Namespaces = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=256)], ...], Field(strict=False)
]
Ranks = Annotated[tuple[Integer, ...], Field(strict=False)]
Table = list[Any]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _once(name: str) -> Any:
    """A key that was called `ttft_min` before it was called `ttft_min_ms`."""
    return Field(validation_alias=AliasChoices(name, name.removesuffix("_ms")))


class PriorityRange(_Part):
    """Both ends are included."""

    min_priority: Integer
    max_priority: Integer
    target_pool: int


Overrides = Annotated[tuple[PriorityRange, ...], Field(strict=False)]


class PrefillStrategy(_Part):
    ttft_min_ms: Bound = _once("ttft_min_ms")
    ttft_max_ms: Bound = _once("ttft_max_ms")
    ttft_resolution: Buckets
    isl_min: Bound
    isl_max: Bound
    isl_resolution: Buckets
    prefill_pool_mapping: Table
    priority_overrides: Overrides = ()


class DecodeStrategy(_Part):
    itl_min_ms: Bound = _once("itl_min_ms")
    itl_max_ms: Bound = _once("itl_max_ms")
    itl_resolution: Buckets
    context_length_min: Bound
    context_length_max: Bound
    context_length_resolution: Buckets
    decode_pool_mapping: Table
    priority_overrides: Overrides = ()


class AggStrategy(_Part):
    """The keys of ISL come together, or none of them."""

    ttft_min_ms: Bound = _once("ttft_min_ms")
    ttft_max_ms: Bound = _once("ttft_max_ms")
    ttft_resolution: Buckets
    itl_min_ms: Bound = _once("itl_min_ms")
    itl_max_ms: Bound = _once("itl_max_ms")
    itl_resolution: Buckets
    isl_min: Bound | None = None
    isl_max: Bound | None = None
    isl_resolution: Buckets | None = None
    agg_pool_mapping: Table
    priority_overrides: Overrides = ()


class DisaggGrid(_Part):
    mode: Literal["disagg"] = "disagg"
    enable_priority_retry: bool = False
    num_prefill_pools: Pools
    num_decode_pools: Pools
    prefill_pool_dynamo_namespaces: Namespaces
    decode_pool_dynamo_namespaces: Namespaces
    prefill_pool_priorities: Ranks | None = None
    decode_pool_priorities: Ranks | None = None
    prefill_pool_selection_strategy: PrefillStrategy
    decode_pool_selection_strategy: DecodeStrategy


class AggGrid(_Part):
    mode: Literal["agg"]
    enable_priority_retry: bool = False
    num_agg_pools: Pools
    agg_pool_dynamo_namespaces: Namespaces
    agg_pool_priorities: Ranks | None = None
    agg_pool_selection_strategy: AggStrategy


MODES: dict[str, type[DisaggGrid] | type[AggGrid]] = {"disagg": DisaggGrid, "agg": AggGrid}
AXES = {
    Role.PREFILL: ("isl", "ttft"),
    Role.DECODE: ("context_length", "itl"),
    Role.AGG: ("isl", "ttft", "itl"),
}
"""What a mapping may go by, outermost first."""
_IN_MS = ("ttft", "itl")


class PoolTable:
    """One stage of a file: what all three have, whatever its keys are called there."""

    def __init__(self, grid: DisaggGrid | AggGrid, role: Role) -> None:
        self.role = role
        self.strategy_key = f"{role}_pool_selection_strategy"
        self.namespaces_key = f"{role}_pool_dynamo_namespaces"
        self.priorities_key = f"{role}_pool_priorities"
        self.count_key = f"num_{role}_pools"
        self.mapping_key = f"{role}_pool_mapping"
        self._strategy = getattr(grid, self.strategy_key)
        self.count: int = getattr(grid, self.count_key)
        self.namespaces: tuple[str, ...] = getattr(grid, self.namespaces_key)
        self.priorities: tuple[int, ...] | None = getattr(grid, self.priorities_key)
        self.mapping: Table = getattr(self._strategy, self.mapping_key)
        self.overrides: tuple[PriorityRange, ...] = self._strategy.priority_overrides

    @property
    def axes(self) -> tuple[str, ...]:
        """What the mapping goes by, outermost first."""
        return tuple(axis for axis in AXES[self.role] if self.buckets(axis) is not None)

    def keys(self, axis: str) -> tuple[str, str, str]:
        """Of its lower end, its upper end and its number of buckets."""
        unit = "_ms" if axis in _IN_MS else ""
        return f"{axis}_min{unit}", f"{axis}_max{unit}", f"{axis}_resolution"

    def buckets(self, axis: str) -> int | None:
        found: int | None = getattr(self._strategy, f"{axis}_resolution")
        return found

    def cells(self) -> list[int]:
        """The mapping in one list. Only of one that has been checked."""
        cells: Table = self.mapping
        for _ in self.axes[1:]:
            cells = [inner for outer in cells for inner in outer]
        return cells

    def bounds(self, axis: str) -> tuple[float | None, float | None]:
        low, high, _ = self.keys(axis)
        return getattr(self._strategy, low), getattr(self._strategy, high)


def tables(grid: DisaggGrid | AggGrid) -> tuple[PoolTable, ...]:
    """Those at which requests enter first."""
    roles = (Role.AGG,) if isinstance(grid, AggGrid) else (Role.PREFILL, Role.DECODE)
    return tuple(PoolTable(grid, role) for role in roles)
