"""Ours: the very routers, pool planners and GlobalPlanner, as processes of the simulated world."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from globalplanner.standing import Change
from weir.simulator.gateway.weir import WeirGateway
from weir.simulator.journal import Step
from weir.simulator.policies.first_size import place_first
from weir.simulator.policies.port import PlanSample
from weir.simulator.roles.engines import ForwardPasses
from weir.simulator.roles.global_planner import GlobalPlannerRole
from weir.simulator.roles.operator import Operator
from weir.simulator.roles.plane import Plane
from weir.simulator.roles.pool_planner import PoolPlannerRole
from weir.simulator.roles.router import RouterRole
from weir.simulator.roles.together import Roles

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["Weir", "make"]

_BAND = 0.9
"""Quantile of the forecast at the upper edge of what is shown; the lower one is as far off."""


class Weir:
    """`routers`: how many share the clients."""

    def __init__(self, routers: int = 1) -> None:
        self._count = routers

    def gateway(self, world: "World") -> WeirGateway:
        self.front = WeirGateway(world)
        return self.front

    def start(self, world: "World") -> None:
        self.world = world
        self.plane = plane = Plane.of(world)
        place_first(world)
        tenants = world.scenario.tenants
        self.routers = [
            RouterRole(plane, f"router-{number}", tenants=tenants)
            for number in range(1, self._count + 1)
        ]
        self.front.routers.extend(self.routers)
        self.global_planners = [GlobalPlannerRole(plane, "global-planner-1")]
        self.pool_planners = [
            PoolPlannerRole(plane, spec, self.leader) for spec in world.fleet.pools
        ]
        world.roles = Roles(
            plane=plane,
            routers=self.routers,
            global_planners=self.global_planners,
            pool_planners=self.pool_planners,
            operator=Operator(world),
        )
        self.global_planners[0].on_decision = self._note
        self.meters = [ForwardPasses(plane, pool) for pool in world.cluster.pools.values()]
        for process in world.roles.own_processes:
            process.start()
        for meter in self.meters:
            meter.publish()

    def leader(self) -> GlobalPlannerRole | None:
        """Whom a report reaches: of several that are up any one, for some do not know better."""
        alive = [role for role in self.global_planners if role.process.alive]
        if len(alive) > 1:
            return self.plane.rng.choice(alive)
        return alive[0] if alive else None

    def sample(self) -> PlanSample:
        """What the newest leader expects and plans; it may not be up to date."""
        planners = [role.planner for role in self.global_planners if role.planner is not None]
        planner = max(planners, key=lambda planner: planner.term, default=None)
        if planner is None:
            return PlanSample()
        return PlanSample(
            ahead_s=planner.ahead_s,
            forecast_rps={
                name: (forecast.quantile(1.0 - _BAND), forecast.mean, forecast.quantile(_BAND))
                for name, forecast in planner.forecasts().items()
            },
            shares=planner.plan.shares if planner.plan is not None else {},
            charged_gpus=planner.ledger.charged_gpus if planner.ledger is not None else None,
        )

    def _note(self, role: GlobalPlannerRole, changes: Sequence[Change]) -> None:
        """A planner has decided: enter what it changed."""
        self.world.invariants.decisions.decided(role, changes)
        for change in changes:
            self.world.journal.step(
                Step(
                    at_s=self.world.now_s,
                    pool_id=change.pool_id,
                    before=change.before,
                    after=change.after,
                    reason=change.reason,
                )
            )


def make(argument: str) -> Weir:
    return Weir()
