"""Read a Fleet document: bytes -> tree -> overrides -> document -> domain."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from weir.domain.errors import FleetError
from weir.domain.fleet import Fleet
from weir.fleet import overrides
from weir.fleet.checks import cross_check
from weir.fleet.document import Document
from weir.fleet.finding import Finding, Level, at, in_order, problem
from weir.fleet.measured import unmeasured, with_measured
from weir.fleet.problems import validation_findings
from weir.fleet.references import reference_findings
from weir.fleet.resolve import fleet_of, profile_of
from weir.fleet.settings import PlannerSettings, RouterSettings, SimulationSettings
from weir.fleet.targets import threshold_findings
from weir.fleet.tree import Tree, TreeError, parse

__all__ = ["LoadedFleet", "Workload", "check", "inspect", "load", "loads", "read_text"]

_MAX_BYTES = 1 << 20
_MOST_FINDINGS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Default workload: `trace` is ready to open, None if the document names none."""

    trace: Path | None
    rate_scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFleet:
    """A Fleet document that can be used, and where it came from: `path`, changed by `sets`."""

    path: Path
    fleet: Fleet
    router: RouterSettings
    planner: PlannerSettings
    workload: Workload
    simulation: SimulationSettings
    document: Document
    tree: Tree
    sets: tuple[str, ...] = ()


def load(path: str | Path, sets: Sequence[str] = ()) -> LoadedFleet:
    """Read, override (`path=value` each), validate and cross-check a Fleet document.

    Raises `FleetError` with everything that is wrong with it.
    """
    loaded, findings = inspect(path, sets)
    if loaded is None:
        errors = [str(found) for found in findings if found.level is Level.ERROR]
        raise FleetError(str(path), errors)
    return loaded


def loads(text: str, sets: Sequence[str] = (), *, path: str | Path = "fleet") -> LoadedFleet:
    """The same of a document's text, as if it stood in the file `path`. Raises `FleetError`."""
    loaded, findings = _inspect_text(text, Path(path), sets)
    if loaded is None:
        errors = [str(found) for found in findings if found.level is Level.ERROR]
        raise FleetError(str(path), errors[:_MOST_FINDINGS])
    return loaded


def check(loaded: LoadedFleet) -> list[Finding]:
    """What is doubtful about a fleet that could be loaded, in the order of the file."""
    findings = cross_check(loaded.fleet, loaded.tree)
    findings.extend(unmeasured(loaded.document, loaded.tree))
    trace = loaded.workload.trace
    if trace is not None and not trace.is_file():
        path = ("spec", "workload", "trace")
        message = f"there is no file {trace}; `weir up` needs --trace or --no-replay"
        findings.append(at(loaded.tree, path, message, level=Level.WARNING))
    return in_order(findings)


def inspect(path: str | Path, sets: Sequence[str] = ()) -> tuple[LoadedFleet | None, list[Finding]]:
    """The fleet and its warnings, or None and its errors (and warnings as far as known)."""
    loaded, findings = _inspect(Path(path), sets)
    if len(findings) > _MOST_FINDINGS:
        more = problem("", f"... and {len(findings) - _MOST_FINDINGS} more")
        findings = [*findings[:_MOST_FINDINGS], more]
    return loaded, findings


def _inspect(path: Path, sets: Sequence[str]) -> tuple[LoadedFleet | None, list[Finding]]:
    try:
        text = read_text(path)
    except TreeError as error:
        return None, [problem(place, message) for place, message in error.problems]
    return _inspect_text(text, path, sets)


def _inspect_text(
    text: str, path: Path, sets: Sequence[str]
) -> tuple[LoadedFleet | None, list[Finding]]:
    try:
        tree, problems = overrides.apply(parse(text), sets)
    except TreeError as error:
        return None, [problem(place, message) for place, message in error.problems]
    document, findings = _validated(tree, path.parent)
    findings = [*problems, *findings]
    if document is None or findings:
        return None, in_order(findings)
    fleet = fleet_of(document)
    findings = cross_check(fleet, tree)
    if any(found.level is Level.ERROR for found in findings):
        return None, findings
    loaded = _loaded(path, tree, document, fleet, sets)
    return loaded, check(loaded)


def _loaded(
    path: Path, tree: Tree, document: Document, fleet: Fleet, sets: Sequence[str]
) -> LoadedFleet:
    workload = document.spec.workload
    return LoadedFleet(
        path=path,
        fleet=fleet,
        router=document.spec.router,
        planner=document.spec.planner,
        workload=Workload(
            trace=path.parent / workload.trace if workload.trace else None,
            rate_scale=workload.rate_scale,
        ),
        simulation=document.spec.simulation,
        document=document,
        tree=tree,
        sets=tuple(sets),
    )


def _validated(tree: Tree, folder: Path) -> tuple[Document | None, list[Finding]]:
    """The document as far as each field and name is concerned, or what is wrong with it."""
    findings = reference_findings(tree)
    try:
        document = Document.model_validate(tree.data)
    except ValidationError as error:
        return None, [*validation_findings(tree, error), *findings]
    document, unread = with_measured(document, tree, folder)
    findings += unread
    findings += threshold_findings(document, tree)
    for name, profile in document.spec.profiles.items():
        try:
            profile_of(profile)
        except ValueError as error:
            findings.append(at(tree, ("spec", "profiles", name), str(error)))
    return document, findings


def read_text(path: Path) -> str:
    """The file's text. Raises `TreeError` when it cannot be read as such."""
    try:
        if path.is_dir():
            raise TreeError(("", "is a directory; give the Fleet document itself"))
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise TreeError(("", f"cannot be read: {error.strerror or error}")) from None
    except ValueError as error:  # a NUL in the name
        raise TreeError(("", f"cannot be read: {error}")) from None
    if len(data) > _MAX_BYTES:
        raise TreeError(("", f"is larger than {_MAX_BYTES} bytes"))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TreeError((f"line {line}", "not UTF-8 text")) from None
