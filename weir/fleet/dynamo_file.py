"""Read a Dynamo planner's configuration: JSON or YAML -> what it says, and what was left out."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from weir.domain.errors import FleetError
from weir.fleet.dynamo_planner import NESTED_KEYS, DynamoPlanner, known_names, same_key
from weir.fleet.finding import Finding, at, in_order, problem
from weir.fleet.loading import read_text
from weir.fleet.problems import validation_findings
from weir.fleet.shape import suggestion
from weir.fleet.tree import Tree, TreeError, parse

__all__ = ["DynamoFile", "read_dynamo"]

_REFUSED = {"aic_perf_model": "Dynamo takes it no more either: use ais_perf_model or leave it out"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamoFile:
    """`given`: the keys that the file has, by the names they have now. `unknown`: those that no
    planner of Dynamo knows, with what they may have been meant to be."""

    planner: DynamoPlanner
    given: frozenset[str]
    unknown: tuple[str, ...] = ()


def read_dynamo(path: Path) -> DynamoFile:
    """Raises `FleetError` with everything that is wrong with it."""
    try:
        tree = parse(read_text(path))
    except TreeError as error:
        problems = [problem(place, message) for place, message in error.problems]
        raise FleetError(str(path), [str(each) for each in problems]) from None
    found = _understood(tree)
    if isinstance(found, DynamoFile):
        return found
    raise FleetError(str(path), [str(each) for each in in_order(found)])


def _understood(tree: Tree) -> DynamoFile | list[Finding]:
    if not isinstance(tree.data, dict):
        return [at(tree, (), "must be a mapping of keys to values, as Dynamo's planner takes it")]
    known = known_names()
    given = {key: value for key, value in tree.data.items() if value is not None}
    findings = [at(tree, (key,), text) for key, text in _REFUSED.items() if key in given]
    findings += _doubled(tree, given)
    data = {key: value for key, value in given.items() if key in known}
    if findings:
        return findings
    try:
        planner = DynamoPlanner.model_validate(data)
    except ValidationError as error:
        return [_plain(found) for found in validation_findings(tree, error)]
    names = {name: names[0] for names in same_key() for name in names}
    return DynamoFile(
        planner=planner,
        given=frozenset(names[key] for key in data),
        unknown=tuple(_unknown(given)),
    )


def _plain(found: Finding) -> Finding:
    """Without the words that pydantic puts before those of a check of several keys."""
    return replace(found, message=found.message.removeprefix("Value error, "))


def _doubled(tree: Tree, given: dict[str, object]) -> Iterator[Finding]:
    for now, *once in same_key():
        for name in once:
            if now in given and name in given:
                yield at(tree, (name,), f"is another name of {now}, which is given as well")


def _unknown(given: dict[str, object]) -> Iterator[str]:
    known = known_names()
    for key, value in given.items():
        if key not in known:
            close = suggestion(key, known)
            yield f"{key}{close if 'did you mean' in close else ''}"
        elif isinstance(value, dict) and key in NESTED_KEYS:
            yield from (f"{key}.{inner}" for inner in value if inner not in NESTED_KEYS[key])
