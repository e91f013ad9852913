"""The parts of a GlobalPlanner as the Fleet document wants them."""

from globalplanner.core.arbiter.snapshot import Rules
from globalplanner.core.operators.proposals import Mode
from globalplanner.service import Patience
from weir.fleet import PlannerSettings

__all__ = ["mode_of", "patience_of", "rules_of"]

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


def mode_of(settings: PlannerSettings, *, advisory: bool = False) -> Mode:
    """Who lets decisions happen. `advisory`: nobody, whatever the document says."""
    if advisory or settings.advisory:
        return Mode.ADVISE
    return Mode.APPROVE if settings.approve == "required" else Mode.ACT
