"""What has to fit together in a GlobalRouter's pool tables; each finding says what to mend."""

from collections.abc import Iterator, Sequence

from weir.fleet.dynamo_grid import AXES, PoolTable
from weir.fleet.finding import Finding, at
from weir.fleet.tree import Path, Tree

__all__ = ["table_findings"]


def table_findings(table: PoolTable, tree: Tree) -> Iterator[Finding]:
    """All that Dynamo refuses at its start, and what can only be a mistake."""
    yield from _counts(table, tree)
    axes = list(_axes(table, tree))
    yield from axes
    if not axes:
        path = (table.strategy_key, table.mapping_key)
        yield from _shape(table, tree, path, table.mapping, table.axes)
    yield from _overrides(table, tree)


def _counts(table: PoolTable, tree: Tree) -> Iterator[Finding]:
    for key, found in (
        (table.namespaces_key, table.namespaces),
        (table.priorities_key, table.priorities),
    ):
        if found is not None and len(found) != table.count:
            message = f"has {len(found)} item(s), {table.count_key} is {table.count}"
            yield at(tree, (key,), f"{message}: one for each pool")


def _axes(table: PoolTable, tree: Tree) -> Iterator[Finding]:
    for axis in AXES[table.role]:
        keys, (low, high), buckets = table.keys(axis), table.bounds(axis), table.buckets(axis)
        path: Path = (table.strategy_key,)
        if low is not None and high is not None and buckets is not None:
            if low >= high:
                message = f"{keys[1]} must be above {keys[0]}; they are {high:g} and {low:g}"
                yield at(tree, path, message)
            elif not (high - low) / buckets > 0.0:
                yield at(tree, (*path, keys[2]), f"is too fine for {low:g} to {high:g}")
        elif (low, high, buckets) != (None, None, None):
            values = zip(keys, (low, high, buckets), strict=True)
            missing = " and ".join(key for key, value in values if value is None)
            yield at(tree, path, f"{missing}: required with the other keys of {axis}")


def _shape(
    table: PoolTable, tree: Tree, path: Path, value: object, axes: Sequence[str]
) -> Iterator[Finding]:
    """The mapping is lists in lists, one level for each axis, with pools' numbers in them."""
    if not axes:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < table.count:
            yield at(tree, path, _no_pool(table, value))
        return
    buckets, (_, _, key) = table.buckets(axes[0]), table.keys(axes[0])
    if not isinstance(value, list) or len(value) != buckets:
        found = f"has {len(value)}" if isinstance(value, list) else f"is {value!r}"
        yield at(tree, path, f"must be a list of {buckets}, as {key} says, and {found}"[:200])
        return
    for index, inner in enumerate(value):
        yield from _shape(table, tree, (*path, index), inner, axes[1:])


def _overrides(table: PoolTable, tree: Tree) -> Iterator[Finding]:
    for index, each in enumerate(table.overrides):
        path: Path = (table.strategy_key, "priority_overrides", index)
        if each.min_priority > each.max_priority:
            message = f"is {each.min_priority}, above max_priority, {each.max_priority}"
            yield at(tree, (*path, "min_priority"), message)
        if not 0 <= each.target_pool < table.count:
            yield at(tree, (*path, "target_pool"), _no_pool(table, each.target_pool))


def _no_pool(table: PoolTable, value: object) -> str:
    last = table.count - 1
    return f"must be the number of a pool, 0 to {last} by {table.count_key}, not {value!r}"[:200]
