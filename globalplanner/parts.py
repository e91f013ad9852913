"""The parts of a GlobalPlanner as the Fleet document wants them."""

import os
import secrets
import socket

from globalplanner.core.arbiter.snapshot import Rules
from globalplanner.core.load.predicted import Predicted
from globalplanner.core.operators.effective import effective
from globalplanner.core.operators.proposals import Gate, Mode
from globalplanner.core.overview import ahead_of
from globalplanner.leadership import Leadership
from globalplanner.metrics import Metrics
from globalplanner.service import GlobalPlanner, Patience
from weir.domain.fleet import Fleet
from weir.fleet import PlannerSettings
from weir.forecast.forecaster import ForecastSettings, Kind
from weir.runtime.clock import Clock
from weir.runtime.signal import Signal

__all__ = ["mode_of", "owner_name", "patience_of", "planner_of", "predicted_of", "rules_of"]

_STALE_WALL_S = 3.0
"""At high speeds a few missed samples are many model seconds."""


def rules_of(settings: PlannerSettings) -> Rules:
    return Rules(
        utilization=settings.utilization,
        backlog_horizon_s=settings.backlog_horizon_s,
        scale_down_dwell_s=settings.scale_down_dwell_s,
        repay_s=settings.repay_s,
        leave_replicas=settings.leave_replicas,
        leave_share=settings.leave_share,
        leave_window_s=settings.leave_window_s,
        gpu_cost_per_hour=settings.gpu_cost_per_hour,
    )


def patience_of(settings: PlannerSettings, *, speed: float) -> Patience:
    return Patience(
        interval_s=settings.interval_s,
        stale_s=max(settings.telemetry_stale_s, _STALE_WALL_S * speed),
        grant_valid_s=settings.grant_valid_s,
        silent_s=settings.grant_valid_s,
    )


def predicted_of(fleet: Fleet, settings: PlannerSettings) -> Predicted | None:
    """Predictors of its classes' rates; None if they are forecast by the trend."""
    wanted = settings.forecast
    if wanted.predictor == "trend":
        return None
    return Predicted(
        ForecastSettings(
            kind=Kind(wanted.predictor),
            log1p=wanted.log1p,
            ahead_s=(ahead_of(fleet, settings.interval_s),),
            window_s=wanted.window_s,
            min_points=wanted.min_points,
            prophet_points=wanted.prophet_points,
            refit_s=wanted.refit_s,
        )
    )


def mode_of(settings: PlannerSettings, *, advisory: bool = False) -> Mode:
    """Who lets decisions happen. `advisory`: nobody, whatever the document says."""
    if advisory or settings.advisory:
        return Mode.ADVISE
    return Mode.APPROVE if settings.approve == "required" else Mode.ACT


def owner_name() -> str:
    """How this process signs the record; no other one does so, on whatever machine."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


def planner_of(
    fleet: Fleet,
    settings: PlannerSettings,
    clock: Clock,
    metrics: Metrics,
    leadership: Leadership,
    changed: Signal,
    *,
    gate: Gate,
    predicted: Predicted | None,
) -> GlobalPlanner:
    """Raises `InfeasibleFloorsError` if the floors do not fit."""
    return GlobalPlanner(
        fleet,
        rules_of(settings),
        patience_of(settings, speed=clock.speed),
        clock,
        metrics,
        may_grow=leadership.sure,
        unwritten=changed.set,
        effective=lambda document, overrides: effective(document, overrides, clock.unix_s()),
        gate=gate,
        predicted=predicted,
    )
