"""The parts of one pool planner as the Fleet document wants them."""

from collections.abc import Iterable

from poolplanner.core.observe import Telemetry
from poolplanner.core.pace import Pace
from poolplanner.core.report import Reporter
from poolplanner.core.targets import Wishes
from poolplanner.core.windows import Stages
from poolplanner.service import Schedule
from weir.domain.fleet import Fleet, PoolSpec, RequestClass, Role, Stage, Statistic
from weir.fleet import LoadedFleet, PlannerSettings
from weir.fleet.settings import PrometheusTelemetry

__all__ = ["pace_of", "percentile_of", "reporter_of", "schedule_of", "stages_of", "wishes_of"]

_STALE_WALL_S = 3.0
"""Engines and routers report once a wall second; at high speeds that is many model seconds."""
_STALE_SCRAPES = 2.5
"""One scrape may fail."""
_ANY_REPLICAS = 1_000_000
"""Where the document gives no maximum the budget decides, which may be raised live."""


def reporter_of(spec: PoolSpec, loaded: LoadedFleet, *, speed: float) -> Reporter:
    classes = loaded.fleet.classes
    stale_wall_s = _STALE_WALL_S
    stages: Stages | None = stages_of(spec, loaded.fleet)
    if isinstance(loaded.planner.telemetry, PrometheusTelemetry):
        stale_wall_s = _STALE_SCRAPES * loaded.planner.telemetry.scrape_s
        stages = None  # it counts only what came to this pool
    return Reporter(
        spec=spec,
        classes=classes,
        telemetry=Telemetry(
            pool_id=spec.id,
            stale_s=max(loaded.planner.telemetry_stale_s, stale_wall_s * speed),
            percentile=percentile_of(classes),
            stages=stages,
        ),
        utilization=loaded.planner.utilization,
        osl_prior_tokens=loaded.router.osl_prior_tokens,
        wishes=wishes_of(spec, loaded.planner),
    )


def wishes_of(spec: PoolSpec, settings: PlannerSettings) -> Wishes | None:
    """Of a pool that its own planner sizes."""
    if spec.thresholds is None:
        return None
    return Wishes(
        thresholds=spec.thresholds,
        dwell_s=settings.scale_down_dwell_s,
        prefills=spec.role is Role.PREFILL,
        horizon_s=settings.backlog_horizon_s,
        idle_s=spec.scale_to_zero_after_s if spec.min_replicas == 0 else None,
    )


def percentile_of(classes: Iterable[RequestClass]) -> float | None:
    """The highest that targets are for; None where all of them are for means."""
    return max(
        (c.slo.percentile for c in classes if c.slo.statistic is Statistic.PERCENTILE),
        default=None,
    )


def stages_of(spec: PoolSpec, fleet: Fleet) -> Stages:
    """Where requests enter the fleet, and which pools do the same for them as this one."""
    stage = Stage.DECODE if spec.role is Role.DECODE else Stage.PREFILL
    return Stages(
        enter=frozenset(pool.id for pool in fleet.pools if Stage.PREFILL in pool.role.stages),
        peers=frozenset(pool.id for pool in fleet.pools if stage in pool.role.stages),
    )


def pace_of(spec: PoolSpec, *, settle_s: float, unsettled_s: float) -> Pace:
    most = _ANY_REPLICAS if spec.max_implied else spec.max_replicas
    return Pace(max_replicas=most, settle_s=settle_s, unsettled_s=unsettled_s)


def schedule_of(settings: PlannerSettings, *, unsettled_s: float) -> Schedule:
    return Schedule(
        interval_s=settings.interval_s,
        drain_s=settings.drain_s,
        silence_s=settings.grant_valid_s,
        unsettled_s=unsettled_s,
    )
