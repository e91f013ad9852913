"""Faults by name, each a small class in a module here.

A new one: a module with a class that is a `Fault`, and a line in the table below.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from weir.domain.errors import WeirError
from weir.simulator.faults.approval import Approval
from weir.simulator.faults.budget import ChangedBudget
from weir.simulator.faults.crash import Crash, CrashedStore
from weir.simulator.faults.dead_replicas import DeadReplicas
from weir.simulator.faults.delay import Delay
from weir.simulator.faults.drain import Drain
from weir.simulator.faults.duplication import Duplication
from weir.simulator.faults.failed_starts import FailedStarts
from weir.simulator.faults.foreign_gpus import ForeignGpus
from weir.simulator.faults.freeze import Freeze
from weir.simulator.faults.live_budget import LiveBudget
from weir.simulator.faults.live_targets import LiveTargets
from weir.simulator.faults.loss import Loss
from weir.simulator.faults.lost_answers import LostAnswers
from weir.simulator.faults.manual_edits import ManualEdits
from weir.simulator.faults.misfit import Misfit
from weir.simulator.faults.occupied_nodes import OccupiedNodes
from weir.simulator.faults.partition import Partition
from weir.simulator.faults.port import RARITIES, Fault, Stage, calm_s
from weir.simulator.faults.removed_pools import RemovedPools
from weir.simulator.faults.silence import Silence
from weir.simulator.faults.skew import SkewedClocks
from weir.simulator.faults.slow_starts import SlowStarts
from weir.simulator.faults.split_store import SplitStore
from weir.simulator.faults.stale import Stale
from weir.simulator.faults.stuck_pods import StuckPods
from weir.simulator.faults.timed import span_of
from weir.simulator.faults.two_leaders import TwoLeaders
from weir.simulator.faults.wiped_store import WipedStore

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["FAULTS", "Fault", "install", "named"]


def _crash_router() -> Fault:
    return Crash(
        "crash-router",
        "a router dies with the calls that are on it, and comes back",
        lambda roles: [role.process for role in roles.routers],
    )


def _crash_pool_planner() -> Fault:
    return Crash(
        "crash-pool-planner",
        "a pool planner dies and comes back",
        lambda roles: [role.process for role in roles.pool_planners],
    )


def _crash_global_planner() -> Fault:
    return Crash(
        "crash-global-planner",
        "the GlobalPlanner dies and comes back with an empty ledger",
        lambda roles: [role.process for role in roles.global_planners],
    )


_MAKERS: Sequence[Callable[[], Fault]] = (
    Loss,
    Delay,
    Duplication,
    Partition,
    Silence,
    Stale,
    SkewedClocks,
    SlowStarts,
    FailedStarts,
    StuckPods,
    DeadReplicas,
    ManualEdits,
    ChangedBudget,
    RemovedPools,
    Misfit,
    ForeignGpus,
    OccupiedNodes,
    LiveBudget,
    LiveTargets,
    Freeze,
    Drain,
    Approval,
    _crash_router,
    _crash_pool_planner,
    _crash_global_planner,
    CrashedStore,
    WipedStore,
    SplitStore,
    LostAnswers,
    TwoLeaders,
)
FAULTS = {make().name: make for make in _MAKERS}
"""By name; they begin in this order."""


def named(names: Sequence[str]) -> tuple[str, ...]:
    """These faults in the table's order; `all` are all, `none` is none.

    `NAME@START+SECONDS` is one that is there for so long. Raises `WeirError` for a name that is
    not known and for what is not a time.
    """
    for text in names:
        name, span = span_of(text)
        if name not in FAULTS and (span is not None or name not in ("all", "none")):
            raise WeirError(f"there is no fault {name!r}; there are {', '.join(FAULTS)}, all, none")
    wanted = [*dict.fromkeys(names), *(FAULTS if "all" in names else ())]
    return tuple(
        dict.fromkeys(text for name in FAULTS for text in wanted if span_of(text)[0] == name)
    )


def install(world: "World", names: Sequence[str]) -> None:
    """Let these faults befall the world, which has not run yet."""
    chosen = [(FAULTS[name](), span) for name, span in map(span_of, named(names))]
    if chosen:
        ends_s = [calm_s(world) if span is None else span.end_s for _, span in chosen]
        world.invariants.calm_from_s = max(ends_s)
        if world.roles is not None:
            world.invariants.failover.watch()
    rng = world.random("rarities")
    for fault, span in chosen:
        rarity = rng.choice(RARITIES) if len(chosen) > 1 else 1.0
        if world.roles is not None or not fault.of_roles:
            fault.start(Stage(world, fault, rarity=rarity, span=span))
