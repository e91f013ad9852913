"""What a report must look like before anything is believed of it.

A report that cannot be true is refused with the field that is wrong; its pool stays at its last
known charge, and no other pool notices. A class that the document does not have is no such fault: a
planner with a newer document must not lose its pool for that, so those are left out, and counted.
"""

import dataclasses
from collections.abc import Container, Iterator, Sequence

from weir.domain.fleet import PoolSpec
from weir.domain.ids import ClassName
from weir.domain.planning import PoolReport

__all__ = ["MOST_REPLICAS", "check_document", "check_report", "known_classes_only"]

_MOST = 1e9
_MOST_CLASSES = 1000
_LONGEST_NAME = 253
_MOST_SEQUENCE = 10**16
"""Sequences begin with milliseconds since 1970; a much larger one would silence the pool."""
_MOST_TERM = 10**15
"""So do terms; a much larger one would leave none for the leaders that follow."""
MOST_REPLICAS = 1_000_000


def check_report(report: PoolReport, *, term: int = 0) -> None:
    """Raises `ValueError` naming the field that is out of all proportion.

    That numbers are finite and not negative is seen to where messages are decoded. `term` is
    that of the leader who asks: whatever it is, a pool may act on it.
    """
    for name, number, most in (*_counts(report, term), *_measures(report)):
        if number > most:
            raise ValueError(f"{name} must be at most {most:g}, not {number:g}")
    for field, names in (
        ("pool_id", [report.pool_id]),
        ("capacity_rps", list(report.capacity_rps)),
        ("load", [load.name for load in report.load]),
    ):
        _check_names(field, names)


def check_document(report: PoolReport, specs: Sequence[PoolSpec]) -> None:
    """Raises `ValueError` if the pool is another one in the document of who reports.

    The first of `specs` is what it should be; there are others while the document is changing.
    Without any there is nothing that it could contradict.
    """
    if not specs:
        return
    for name, said, known in (
        ("role", report.role, [spec.role for spec in specs]),
        ("gpus_per_replica", report.gpus_per_replica, [spec.gpus_per_replica for spec in specs]),
    ):
        if said is not None and said not in known:
            raise ValueError(
                f"{name} is {said}, but {known[0]} in the document here: start the planner of"
                f" {report.pool_id} with the Fleet document that the GlobalPlanner has"
            )


def known_classes_only(
    report: PoolReport, classes: Container[ClassName]
) -> tuple[PoolReport, frozenset[ClassName]]:
    """The report as far as it is about `classes`, and what it says of others."""
    named = {*report.capacity_rps, *(load.name for load in report.load)}
    strange = frozenset(name for name in named if name not in classes)
    if not strange:
        return report, strange
    known = dataclasses.replace(
        report,
        capacity_rps={n: rate for n, rate in report.capacity_rps.items() if n not in strange},
        load=tuple(load for load in report.load if load.name not in strange),
    )
    return known, strange


def _counts(report: PoolReport, term: int) -> Iterator[tuple[str, float, float]]:
    yield "sequence", report.sequence, _MOST_SEQUENCE
    yield "acted_term", report.acted_term, max(_MOST_TERM, term)
    yield "acted_epoch", report.acted_epoch, _MOST_SEQUENCE
    yield "acted_replicas", report.acted_replicas, MOST_REPLICAS
    yield "state", report.state.held, MOST_REPLICAS
    yield "gpus_per_replica", report.gpus_per_replica or 0, MOST_REPLICAS
    yield "wish", report.wish or 0, MOST_REPLICAS


def _measures(report: PoolReport) -> Iterator[tuple[str, float, float]]:
    for name in ("backlog_replica_s", "telemetry_age_s", "ttft_s", "itl_s"):
        yield name, getattr(report, name) or 0.0, _MOST
    yield "capacity_rel_std", report.capacity_rel_std, _MOST
    yield "start_up_s", report.start_up_s, _MOST
    for class_name, rate_rps in report.capacity_rps.items():
        yield f"capacity_rps[{class_name}]", rate_rps, _MOST
    for load in report.load:
        for name in ("rate_rps", "rate_high_rps", "isl_tokens", "osl_tokens"):
            yield f"load[{load.name}].{name}", getattr(load, name), _MOST


def _check_names(field: str, names: Sequence[str]) -> None:
    if len(names) > _MOST_CLASSES:
        raise ValueError(f"{field} names more than {_MOST_CLASSES} classes")
    if any(len(name) > _LONGEST_NAME for name in names):
        raise ValueError(f"{field} has a name of more than {_LONGEST_NAME} characters")
    if len(names) != len(set(names)):
        raise ValueError(f"{field} names a class twice: {', '.join(sorted(names))}")
