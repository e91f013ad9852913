"""What one replica of this pool serves of each class, and what is queued, in replica seconds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from poolplanner.core.load import ClassShape
from poolplanner.core.observation import Observation
from weir.domain.fleet import PoolSpec, RequestClass, Role
from weir.domain.ids import ClassName
from weir.sizing.capacity import prefill_backlog_s, replica_capacity_rps

__all__ = ["CAPACITY_REL_STD", "CapacityTable", "backlog_replica_s"]

CAPACITY_REL_STD = 0.2
"""How far a profile that nobody has checked against the engine is off, as a share."""

_GRID = math.log(1.05)
_MOST_ENTRIES = 512

_Key = tuple[ClassName, int, int]


@dataclass(slots=True)
class CapacityTable:
    """Capacities at lengths rounded to a 5 % grid, each worked out once.

    Rounding also keeps the numbers, and what is decided from them, from trembling.
    """

    spec: PoolSpec
    classes: Mapping[ClassName, RequestClass]
    utilization: float
    _known: dict[_Key, float | None] = field(default_factory=dict)

    def follow(self, classes: Mapping[ClassName, RequestClass]) -> None:
        """What classes are to meet from now on."""
        if classes != self.classes:
            self.classes = classes
            self._known.clear()

    def capacity_rps(self, shapes: Mapping[ClassName, ClassShape]) -> dict[ClassName, float]:
        """Requests/s by class at planned utilization; without the classes it cannot serve."""
        rates = {name: self._rate_rps(name, shape) for name, shape in shapes.items()}
        return {name: rate for name, rate in rates.items() if rate is not None}

    def mean_work(self, shapes: Mapping[ClassName, ClassShape]) -> tuple[float, float] | None:
        """Seconds of a fully used replica per request, and the sequences it then holds.

        Both are means over the classes it can serve; None if there are none.
        """
        capacity_rps = self.capacity_rps(shapes)
        total = sum(shapes[name].share for name in capacity_rps)
        if total <= 0.0:
            return None
        request_s = occupied = 0.0
        for name, planned_rps in capacity_rps.items():
            share, full_rps = shapes[name].share / total, planned_rps / self.utilization
            in_system = full_rps * shapes[name].osl_tokens * self.classes[name].slo.itl_s
            request_s += share / full_rps
            occupied += share / max(1.0, in_system)
        return request_s, 1.0 / occupied

    def _rate_rps(self, name: ClassName, shape: ClassShape) -> float | None:
        key = (name, _step(shape.isl_tokens), _step(shape.osl_tokens))
        if key not in self._known:
            if len(self._known) >= _MOST_ENTRIES:
                self._known.clear()
            self._known[key] = replica_capacity_rps(
                self.spec.profile,
                self.spec.role,
                self.classes[name].slo,
                math.exp(key[1] * _GRID),
                math.exp(key[2] * _GRID),
                utilization=self.utilization,
                context_limit_tokens=self.spec.context_limit_tokens,
            )
        return self._known[key]


def backlog_replica_s(
    table: CapacityTable,
    observation: Observation,
    shapes: Mapping[ClassName, ClassShape],
    *,
    ready: int,
) -> float | None:
    """Seconds that one replica needs for what is queued; None if nobody can tell.

    Prefill: prompt tokens whose first token is not out. Decode: sequences that wait, or that
    run beyond what the `ready` replicas hold within ITL. In an aggregated pool the larger
    of both.
    """
    role = table.spec.role
    prefill_s = _queued_prefill_s(table.spec, observation) if role is not Role.DECODE else None
    decode_s = None
    if role is not Role.PREFILL:
        decode_s = _queued_decode_s(table, observation, shapes, ready)
    return max((seconds for seconds in (prefill_s, decode_s) if seconds is not None), default=None)


def _queued_prefill_s(spec: PoolSpec, observation: Observation) -> float | None:
    counts = [observation.queued_tokens]
    if observation.engines is not None:
        counts.append(observation.engines.waiting_tokens)
    known = [tokens for tokens in counts if tokens is not None]
    return prefill_backlog_s(spec.profile, max(known)) if known else None


def _queued_decode_s(
    table: CapacityTable,
    observation: Observation,
    shapes: Mapping[ClassName, ClassShape],
    ready: int,
) -> float | None:
    """Engines know what waits there; without them the routers' count of sequences has to do.

    What waits at the routers comes on top: they give an engine no more than it can run.
    """
    engines, held = observation.engines, 0.0
    if table.spec.role is Role.DECODE:
        held = _held_sequences(observation, shapes)
    if engines is not None:
        sequences, waiting, workers = (
            engines.running + engines.waiting + held,
            engines.waiting + held,
            engines.workers,
        )
    elif observation.in_flight is not None:
        sequences, waiting, workers = observation.in_flight + held, held, ready
    else:
        return None
    if sequences == 0:
        return 0.0
    work = table.mean_work(shapes)
    if work is None:
        return None
    request_s, batch = work
    return max(0.0, waiting, sequences - workers * batch) * request_s


def _held_sequences(observation: Observation, shapes: Mapping[ClassName, ClassShape]) -> float:
    """Sequences whose prompts the routers count as queued for this pool."""
    share = sum(shape.share for shape in shapes.values())
    if not observation.queued_tokens or share <= 0.0:
        return 0.0
    isl_tokens = sum(shape.share * shape.isl_tokens for shape in shapes.values()) / share
    return observation.queued_tokens / max(1.0, isl_tokens)


def _step(tokens: float) -> int:
    return round(math.log(max(1.0, tokens)) / _GRID)
