"""Read the configuration of Dynamo's GlobalRouter: JSON -> a grid, and what is doubtful in it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import AliasChoices, BaseModel, ValidationError

from weir.domain.errors import FleetError
from weir.domain.fleet import Role
from weir.domain.grid import Axis, Grid, GridStage, Override
from weir.domain.ids import PoolId
from weir.fleet.dynamo_grid import MODES, AggGrid, DisaggGrid, PoolTable, tables
from weir.fleet.dynamo_grid_checks import table_findings
from weir.fleet.dynamo_grid_notes import notes_on
from weir.fleet.finding import Finding, at, in_order, problem
from weir.fleet.loading import read_text
from weir.fleet.problems import validation_findings
from weir.fleet.shape import suggestion
from weir.fleet.tree import Path as Place
from weir.fleet.tree import Tree, TreeError, parse

__all__ = ["GridFile", "parse_grid", "read_grid"]

PoolOf = Callable[[str, Role], PoolId]
"""The pool that a Dynamo namespace stands for in a role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridFile:
    """`notes`: keys that are not read, and what can hardly be meant."""

    source: str
    tables: tuple[PoolTable, ...]
    retries: bool
    notes: tuple[str, ...]

    def namespaces(self) -> Iterator[tuple[str, Role]]:
        """Each once, with the role that its pool has."""
        named = [(name, table.role) for table in self.tables for name in table.namespaces]
        yield from dict.fromkeys(named)

    def grid(self, pool_of: PoolOf, ttft_ms: float | None, itl_ms: float | None) -> Grid:
        """The targets count for requests that state none; without them the middle of the axis."""
        usual = {"ttft": ttft_ms, "itl": itl_ms}
        head, *rest = (_stage(table, pool_of, usual) for table in self.tables)
        return Grid(head=head, decode=rest[0] if rest else None, retries=self.retries)


def read_grid(path: Path) -> GridFile:
    """Raises `FleetError` with everything that is wrong with it."""
    try:
        text = read_text(path)
    except TreeError as error:
        raise _unreadable(error, str(path)) from None
    return parse_grid(text, source=str(path))


def parse_grid(text: str, *, source: str = "grid") -> GridFile:
    """Raises `FleetError`, naming `source`, with everything that is wrong with it."""
    try:
        # Between values tabs are space to JSON, but not to YAML; within them they are escaped.
        tree = parse(text.replace("\t", " "))
    except TreeError as error:
        raise _unreadable(error, source) from None
    found = _understood(tree, source)
    if isinstance(found, GridFile):
        return found
    raise FleetError(source, [str(each) for each in in_order(found)])


def _unreadable(error: TreeError, source: str) -> FleetError:
    return FleetError(source, [str(problem(place, what)) for place, what in error.problems])


def _understood(tree: Tree, source: str) -> GridFile | list[Finding]:
    if not isinstance(tree.data, dict):
        return [at(tree, (), "must be an object, as Dynamo's GlobalRouter takes it")]
    mode = tree.data.get("mode")
    model = MODES.get("disagg" if mode is None else mode if isinstance(mode, str) else "")
    if model is None:
        return [at(tree, ("mode",), f"must be {' or '.join(map(repr, MODES))}, not {mode!r:.60}")]
    reading = _Reading(tree)
    data = reading.known(tree.data, model, ())
    if reading.findings:
        return reading.findings
    try:
        grid = model.model_validate(data)
    except ValidationError as error:
        return validation_findings(tree, error)
    return _checked(grid, tree, source, reading.unknown)


def _checked(
    grid: DisaggGrid | AggGrid, tree: Tree, source: str, unknown: list[str]
) -> GridFile | list[Finding]:
    parts = tables(grid)
    findings = [found for table in parts for found in table_findings(table, tree)]
    findings += _both_roles(parts, tree)
    if findings:
        return findings
    retries = grid.enable_priority_retry
    return GridFile(
        source=source,
        tables=parts,
        retries=retries,
        notes=(*unknown, *(note for each in parts for note in notes_on(each, retries=retries))),
    )


def _both_roles(parts: tuple[PoolTable, ...], tree: Tree) -> Iterator[Finding]:
    """A namespace has one router, and that one sends to workers of one role."""
    roles: dict[str, Role] = {}
    for table in parts:
        for index, name in enumerate(table.namespaces):
            if roles.setdefault(name, table.role) is not table.role:
                message = f"{name!r} is a {roles[name]} pool already; each pool has its namespace"
                yield at(tree, (table.namespaces_key, index), message)


class _Reading:
    """Takes out what no GlobalRouter knows, and what is null, before the rest is checked."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.unknown: list[str] = []
        self.findings: list[Finding] = []

    def known(self, data: dict[str, Any], model: type[BaseModel], place: Place) -> dict[str, Any]:
        fields = {
            name: info for key, info in model.model_fields.items() for name in _names(key, info)
        }
        given = {key: value for key, value in data.items() if value is not None}
        self._look_for_doubles(given, model, place)
        for key in (each for each in given if each not in fields):
            where = self._tree.show((*place, key))
            close = suggestion(key, (name for name in fields if name not in given))
            meant = close if "did you mean" in close else ""
            self.unknown.append(f"{where}{meant}: no key of a GlobalRouter here; not read")
        return {
            key: self._within(value, fields[key].annotation, (*place, key))
            for key, value in given.items()
            if key in fields
        }

    def _within(self, value: Any, annotation: Any, place: Place) -> Any:
        for inner in (annotation, *get_args(annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                if isinstance(value, dict):
                    return self.known(value, inner, place)
                if isinstance(value, list):
                    each = enumerate(value)
                    return [self._within(item, inner, (*place, index)) for index, item in each]
        return value

    def _look_for_doubles(
        self, given: dict[str, Any], model: type[BaseModel], place: Place
    ) -> None:
        for key, info in model.model_fields.items():
            now, *once = _names(key, info)
            for name in once:
                if now in given and name in given:
                    message = f"is another name of {now}, which is given as well"
                    self.findings.append(at(self._tree, (*place, name), message))


def _names(key: str, info: Any) -> tuple[str, ...]:
    """All names of a field, the present one first."""
    alias = info.validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(dict.fromkeys(str(each) for each in alias.choices))
    return (key,)


def _stage(table: PoolTable, pool_of: PoolOf, usual: dict[str, float | None]) -> GridStage:
    """Of a table that has been checked."""
    axes = {axis: _axis(table, axis, usual.get(axis)) for axis in table.axes}
    return GridStage(
        pools=tuple(pool_of(name, table.role) for name in table.namespaces),
        ranks=tuple(range(table.count)) if table.priorities is None else table.priorities,
        isl_tokens=axes.get("context_length", axes.get("isl")),
        ttft_ms=axes.get("ttft"),
        itl_ms=axes.get("itl"),
        cells=tuple(table.cells()),
        overrides=tuple(
            Override(low=each.min_priority, high=each.max_priority, pool=each.target_pool)
            for each in table.overrides
        ),
    )


def _axis(table: PoolTable, axis: str, usual: float | None) -> Axis:
    low, high = table.bounds(axis)
    buckets = table.buckets(axis)
    assert low is not None and high is not None and buckets is not None
    middle = (low + high) / 2 if axis in ("ttft", "itl") else (low + high) // 2
    return Axis(low=low, high=high, buckets=buckets, usual=middle if usual is None else usual)
