"""Read a Fleet document: bytes -> tree -> overrides -> document -> domain."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from weir.domain.errors import FleetError
from weir.domain.fleet import Fleet
from weir.fleet import overrides
from weir.fleet.document import Document
from weir.fleet.problems import validation_problems
from weir.fleet.resolve import fleet_of
from weir.fleet.settings import PlannerSettings, RouterSettings
from weir.fleet.tree import Tree, TreeError, parse

__all__ = ["LoadedFleet", "Workload", "load", "load_text"]

_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Default workload: `trace` is ready to open, None if the document names none."""

    trace: Path | None
    rate_scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFleet:
    """A Fleet document that can be used, and where it came from."""

    path: Path
    fleet: Fleet
    router: RouterSettings
    planner: PlannerSettings
    workload: Workload
    document: Document
    tree: Tree


def load(path: str | Path, sets: Sequence[str] = ()) -> LoadedFleet:
    """Read, override (`path=value` each) and validate a Fleet document.

    Raises `FleetError` with everything that is wrong with it.
    """
    return load_text(_read(Path(path)), path=Path(path), sets=sets)


def load_text(text: str, *, path: Path, sets: Sequence[str] = ()) -> LoadedFleet:
    """As `load`, from text; `path` is for messages and relative paths."""
    source = str(path)
    try:
        tree, problems = overrides.apply(parse(text), sets)
    except TreeError as error:
        raise FleetError(source, error.problems) from None
    try:
        document = Document.model_validate(tree.data)
    except ValidationError as error:
        raise FleetError(source, [*problems, *validation_problems(tree, error)]) from None
    if problems:
        raise FleetError(source, problems)
    workload = document.spec.workload
    return LoadedFleet(
        path=path,
        fleet=fleet_of(document),
        router=document.spec.router,
        planner=document.spec.planner,
        workload=Workload(
            trace=path.parent / workload.trace if workload.trace else None,
            rate_scale=workload.rate_scale,
        ),
        document=document,
        tree=tree,
    )


def _read(path: Path) -> str:
    """The file's text. Raises `FleetError` when it cannot be read as such."""
    source = str(path)
    try:
        if path.is_dir():
            raise FleetError(source, ["is a directory; give the Fleet document itself"])
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise FleetError(source, [f"cannot be read: {error.strerror or error}"]) from None
    except ValueError as error:  # a NUL in the name
        raise FleetError(source, [f"cannot be read: {error}"]) from None
    if len(data) > _MAX_BYTES:
        raise FleetError(source, [f"is larger than {_MAX_BYTES} bytes"])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FleetError(source, [f"line {line}: not UTF-8 text"]) from None
