"""What in a GlobalRouter's pool tables is allowed and can hardly be meant."""

from collections.abc import Iterator

from weir.fleet.dynamo_grid import PoolTable

__all__ = ["notes_on"]


def notes_on(table: PoolTable, *, retries: bool) -> Iterator[str]:
    yield from _same_pools(table)
    yield from _unused_pools(table, retries=retries)
    yield from _idle_axes(table)
    yield from _unused_overrides(table)


def _same_pools(table: PoolTable) -> Iterator[str]:
    first: dict[str, int] = {}
    for number, name in enumerate(table.namespaces):
        if first.setdefault(name, number) != number:
            yield f"{table.namespaces_key}: {first[name]} and {number} are one pool, {name}"


def _unused_pools(table: PoolTable, *, retries: bool) -> Iterator[str]:
    used = {*table.cells(), *(each.target_pool for each in table.overrides)}
    ranks = table.priorities or tuple(range(table.count))
    slowest = max((ranks[number] for number in used), default=0)
    for number, name in enumerate(table.namespaces):
        if number not in used and not (retries and ranks[number] < slowest):
            yield f"{table.mapping_key}: nothing goes to pool {number}, {name}"


def _idle_axes(table: PoolTable) -> Iterator[str]:
    """Axes along which every cell is the same as the first, for all values of the others."""
    cells = table.cells()
    width = len(cells)
    for axis in table.axes:
        buckets = table.buckets(axis) or 1
        block, width = width, width // buckets
        alike = all(
            cells[start + offset] == cells[start + offset % width]
            for start in range(0, len(cells), block)
            for offset in range(block)
        )
        if alike and buckets > 1 and len(set(cells)) > 1:
            yield f"{table.mapping_key}: all buckets of {axis} are alike, so it decides nothing"


def _unused_overrides(table: PoolTable) -> Iterator[str]:
    overrides = table.overrides
    for index, each in enumerate(overrides):
        low, high = each.min_priority, each.max_priority
        if any(e.min_priority <= low and high <= e.max_priority for e in overrides[:index]):
            yield f"priority_overrides.{index} of {table.strategy_key}: an earlier one comes first"
