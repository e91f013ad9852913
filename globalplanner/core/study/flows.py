"""Columns and rows of a program: what pools do for streams, and within which bounds."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from globalplanner.core.arbiter.demand import Stream
from globalplanner.core.arbiter.snapshot import PoolView
from globalplanner.core.arbiter.stages import weighed_roles
from globalplanner.core.study.highs import Floats, Rows
from weir.domain.fleet import Role

__all__ = ["Flow", "aside_of", "bounds_of", "flows_of", "worths_of", "write_flows"]

_LEAST_RPS = 1e-6


@dataclass(frozen=True, slots=True)
class Flow:
    """Replicas' worth of time that a pool spends on a stream, and in which column.

    `pool`, `stream`: their positions. `rate_rps`: what a replica does in all of its time.
    """

    view: PoolView
    pool: int
    stream: int
    rate_rps: float
    column: int
    role: Role


def flows_of(views: Sequence[PoolView], streams: Sequence[Stream], column: int) -> Iterator[Flow]:
    """Of all that can be served end to end, in columns from this one on."""
    parts = weighed_roles(views)
    for number, stream in enumerate(streams):
        if stream.rate_rps < _LEAST_RPS:
            continue
        able = [
            (i, view, view.capacity_rps.get(stream.class_name, 0.0))
            for i, view in enumerate(views)
            if view.spec.model == stream.model and view.wish is None
        ]
        roles = {parts[i] for i, _, rate_rps in able if rate_rps > 0.0}
        paired = {Role.PREFILL, Role.DECODE} <= roles
        for i, view, rate_rps in able:
            if rate_rps > 0.0 and (paired or parts[i] is Role.AGG):
                yield Flow(view, i, number, rate_rps, column, parts[i])
                column += 1


def write_flows(rows: Rows, flows: Iterable[Flow], streams: Sequence[Stream]) -> Iterator[int]:
    """No more is served than offered, or decoded than prefilled; the rows of what is offered.

    A replica, which is the column of its pool's position, spends no more time than it has.
    """
    entering: dict[int, dict[int, float]] = {}
    through: dict[int, dict[int, float]] = {}
    busy: dict[int, dict[int, float]] = {}
    for flow in flows:
        busy.setdefault(flow.pool, {flow.pool: -1.0})[flow.column] = 1.0
        if flow.role is not Role.DECODE:
            entering.setdefault(flow.stream, {})[flow.column] = flow.rate_rps
        if flow.role is not Role.AGG:
            sign = 1.0 if flow.role is Role.PREFILL else -1.0
            through.setdefault(flow.stream, {})[flow.column] = sign * flow.rate_rps
    for row in (*through.values(), *busy.values()):
        rows.add(row, 0.0)
    for stream, row in entering.items():
        yield rows.add(row, streams[stream].rate_rps)


def worths_of(flows: Iterable[Flow], streams: Sequence[Stream], width: int) -> Floats:
    """By column; a request counts where it enters."""
    worths = np.zeros(width)
    for flow in flows:
        if flow.role is not Role.DECODE:
            worths[flow.column] = flow.rate_rps * streams[flow.stream].worth
    return worths


def bounds_of(view: PoolView) -> tuple[int, float]:
    """The least replicas and the most. An implied maximum is whatever the limits hold."""
    spec = view.spec
    if view.held or view.wish is not None:
        return view.replicas, view.replicas
    most: float = spec.most_replicas
    if spec.max_implied:
        borrowed = spec.borrow_replicas
        most = inf if borrowed is None else spec.guarantee_replicas + borrowed
    ceiling = inf if view.ceiling is None else view.ceiling
    low = int(min(spec.min_replicas, ceiling))
    return low, max(low, min(most, ceiling))


def aside_of(view: PoolView) -> int:
    """A pool that may not use them needs no GPUs set aside."""
    aside = view.spec.aside_replicas
    return aside if view.ceiling is None or view.held else min(aside, view.ceiling)
