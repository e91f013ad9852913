"""Changes of the Fleet document, which each GlobalPlanner reads at a moment of its own."""

from collections.abc import Callable
from typing import Any

from weir.domain.fleet import Fleet
from weir.simulator.faults.port import Heal, Stage
from weir.simulator.roles.global_planner import GlobalPlannerRole

__all__ = ["edit"]

_LATEST_S = 4.0
_AGAIN_S = 1.0


def edit(stage: Stage, change: Callable[[Fleet], Fleet], **told: Any) -> Heal | None:
    """Let the document have this, too, until it is healed; None if its floors would not fit."""
    world, who = stage.world, stage.fault

    def put_back() -> None:
        if world.edit(who, None):
            stage.note("the document is as before")
            _read(stage)
        else:
            world.events.after(_AGAIN_S, lambda _: put_back())

    if not world.edit(who, change):
        return None
    stage.note("the document is changed", **told)
    _read(stage)
    return put_back


def _read(stage: Stage) -> None:
    roles = stage.world.roles
    for role in roles.global_planners if roles is not None else ():
        stage.world.events.after(stage.rng.uniform(0.0, _LATEST_S), GlobalPlannerRole.read, role)
