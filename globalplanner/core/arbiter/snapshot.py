"""What a decision is made from, and what it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from globalplanner.core.budget.limits import Limit
from weir.domain.fleet import PoolSpec, RequestClass, Stage
from weir.domain.ids import ClassName, PoolId
from weir.domain.planning import ClassLoad

__all__ = [
    "Alternative",
    "Decision",
    "Departures",
    "Lull",
    "Memory",
    "PoolView",
    "Rules",
    "SharesByClass",
    "Snapshot",
    "SpillByClass",
    "Step",
]

SharesByClass = Mapping[ClassName, Mapping[Stage, Mapping[PoolId, float]]]
SpillByClass = Mapping[ClassName, Mapping[Stage, tuple[PoolId, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How decisions are made.

    `shrink_margin`: after a removal the planned load must leave this share of what is planned to
    be carried, over the root of the number of replicas (or of a quarter of the requests a second,
    if that is less), so that it is not taken back soon.

    `repay_s`: a GPU changes hands by choice only if what is gained has made up, this long after,
    for what is not served while its new replica starts. Of a pool at most `leave_replicas`, and
    this share (rounded up), leave by choice within `leave_window_s`; None: any number.

    `gpu_cost_per_hour`, by GPU class: in the value of one request of weight 1. A replica that is
    worth less is not held.
    """

    utilization: float = 0.8
    backlog_horizon_s: float = 20.0
    scale_down_dwell_s: float = 60.0
    shrink_margin: float = 0.3
    repay_s: float = 600.0
    leave_replicas: int | None = None
    leave_share: float | None = None
    leave_window_s: float = 60.0
    gpu_cost_per_hour: Mapping[str, float] = field(default_factory=dict)

    def dwell_s(self, spec: PoolSpec, replicas: int) -> float:
        """How long a pool must have needed no more than `replicas` before it has only these."""
        if replicas > 0:
            return self.scale_down_dwell_s
        return max(self.scale_down_dwell_s, spec.scale_to_zero_after_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """One pool now. `replicas` is what was decided last, `ready` what serves.

    `capacity_rps`: what one replica is planned to carry of each class, head room taken off.
    `load_rps`: what reaches the pool, empty if unknown. `held`: why its allocation must stay as
    it is; empty if it may change. A pool whose backlog is unknown (None) does not shrink.
    `capacity_rel_std`: how far off its capacity may be, as a share. `ceiling`: never more than
    this for now, whatever is needed. `wish`: somebody else sizes the pool and asks for so many;
    what they serve is unknown.
    """

    spec: PoolSpec
    replicas: int
    ready: int = 0
    capacity_rps: Mapping[ClassName, float] = field(default_factory=dict)
    backlog_replica_s: float | None = None
    load_rps: Mapping[ClassName, float] = field(default_factory=dict)
    held: str = ""
    capacity_rel_std: float = 0.0
    ceiling: int | None = None
    wish: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """`loads` is None when nobody knows what is offered; `holding` then says why."""

    now_s: float
    classes: tuple[RequestClass, ...]
    pools: tuple[PoolView, ...]
    limits: tuple[Limit, ...]
    loads: Mapping[ClassName, ClassLoad] | None
    holding: str = "no traffic telemetry yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lull:
    """A pool needs less since `since_s`; never more than `replicas` in all that time."""

    since_s: float
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A pool has been given `replicas` more; until `until_s` they are trusted to catch up."""

    replicas: int
    until_s: float


Departures = tuple[tuple[float, int], ...]
"""When replicas of a pool have left by choice, and how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What one decision hands on to the next.

    `kept` makes the next one faster; where its work is bounded it goes on from there.
    """

    lulls: Mapping[PoolId, Lull] = field(default_factory=dict)
    steps: Mapping[PoolId, tuple[Step, ...]] = field(default_factory=dict)
    left: Mapping[PoolId, Departures] = field(default_factory=dict)
    kept: Any = field(default=None, compare=False, repr=False)

    def trusted(self, pool_id: PoolId, now_s: float) -> int:
        """Replicas added so lately that they may not have caught up yet."""
        steps = self.steps.get(pool_id, ())
        return sum(step.replicas for step in steps if step.until_s > now_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """What was weighed and not done: it would have added `value` per second."""

    words: str
    value: float
    why_not: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """`memory` is to be given to the next decision. `holding` is empty if demand was weighed.

    `shares` of a class and stage sum to 1; None: the plan before stays.

    `value` is what is served within SLO per second, weighted, of `full_value` that some pool
    could serve. `prices`, by limit: what one more GPU there would add; 0 where none is missing.
    `infeasible`: classes that are offered and that no pools could serve within SLO at any size.

    `reasons` (by pool), `class_reasons` and `alternatives` are worked out when they are read:
    read them only of decisions that change something, and before the decision is forgotten.
    """

    replicas: Mapping[PoolId, int]
    reasons: Mapping[PoolId, str]
    memory: Memory
    shares: SharesByClass | None = None
    spill: SpillByClass | None = None
    holding: str = ""
    value: float = 0.0
    full_value: float = 0.0
    class_reasons: Mapping[ClassName, str] = field(default_factory=dict)
    alternatives: tuple[Alternative, ...] = ()
    prices: Mapping[str, float] = field(default_factory=dict)
    infeasible: frozenset[ClassName] = frozenset()
