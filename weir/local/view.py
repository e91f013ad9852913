"""One moment of a local fleet, as the dashboard and the progress line show it."""

from collections.abc import Sequence
from dataclasses import dataclass

from weir.api.v1 import planner_pb2
from weir.domain.fleet import RequestClass
from weir.domain.planning import PoolState
from weir.local.local_fleet import LocalFleet
from weir.local.replay import Progress, Replay
from weir.local.tally import ClassView
from weir.runtime.clock import Clock

__all__ = ["DecisionView", "PoolView", "View", "look"]

_DECISIONS_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """None: not known at the moment."""

    name: str
    role: str
    state: PoolState
    granted: int | None
    most: int
    in_flight: int | None
    queued_tokens: int | None
    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionView:
    at_s: float
    pool: str
    before: int
    after: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    endpoint: str
    serving: bool
    """False until the fleet is ready."""
    elapsed_s: float
    speed: float
    pools: Sequence[PoolView]
    classes: Sequence[tuple[RequestClass, ClassView | None]]
    held_gpus: int
    charged_gpus: int | None
    budget_gpus: int
    decisions: Sequence[DecisionView]
    holding: str
    """Why the GlobalPlanner does not decide; empty when it does."""
    role_restarts: Sequence[tuple[str, int]]
    replay: Progress | None


def look(fleet: LocalFleet, begun_at_s: float, replay: Replay | None) -> View:
    """The fleet as it is now. `begun_at_s`: wall time of its start."""
    now_s = fleet.clock.now_s()
    status = fleet.monitor.status
    return View(
        endpoint=fleet.endpoint,
        serving=fleet.serving,
        elapsed_s=Clock.wall_s() - begun_at_s,
        speed=fleet.clock.speed,
        pools=_pools(fleet, now_s),
        classes=[
            (request_class, fleet.monitor.traffic.class_view(request_class.name, now_s))
            for request_class in fleet.fleet.classes
        ],
        held_gpus=fleet.engines.table.gpus.held_gpus,
        charged_gpus=status.charged_gpus if status else None,
        budget_gpus=fleet.fleet.budget.gpus,
        decisions=_decisions(status),
        holding=status.holding if status else "the GlobalPlanner does not answer",
        role_restarts=[(child.name, child.restarts) for child in fleet.roles if child.restarts],
        replay=replay.progress if replay else None,
    )


def _pools(fleet: LocalFleet, now_s: float) -> list[PoolView]:
    status = fleet.monitor.status
    granted = {pool.pool_id: pool.granted_replicas for pool in status.pools} if status else {}
    views = []
    for pool in fleet.fleet.pools:
        traffic = fleet.monitor.traffic.pool_traffic(pool.id, now_s)
        views.append(
            PoolView(
                name=pool.id,
                role=pool.role,
                state=fleet.engines.table.state(pool.id),
                granted=granted.get(pool.id),
                most=pool.max_replicas,
                in_flight=traffic.in_flight if traffic else None,
                queued_tokens=traffic.queued_tokens if traffic else None,
                restarts=fleet.engines.restarts.get(pool.id, 0),
            )
        )
    return views


def _decisions(status: planner_pb2.StatusResponse | None) -> list[DecisionView]:
    return [
        DecisionView(
            at_s=decision.at_s,
            pool=decision.pool_id,
            before=decision.before_replicas,
            after=decision.after_replicas,
            reason=_without_counts(decision),
        )
        for decision in (status.decisions[-_DECISIONS_SHOWN:] if status else ())
    ]


def _without_counts(decision: planner_pb2.Decision) -> str:
    """The reason alone: the counts that it begins with have a column of their own."""
    counts = f"{decision.before_replicas} -> {decision.after_replicas}: "
    return decision.reason.removeprefix(counts)
