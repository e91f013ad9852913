"""All of weir's processes in one simulated world, for faults and invariants to find."""

from dataclasses import dataclass

from weir.domain.ids import PoolId
from weir.simulator.process import Process
from weir.simulator.roles.global_planner import GlobalPlannerRole
from weir.simulator.roles.operator import Operator
from weir.simulator.roles.plane import Plane
from weir.simulator.roles.pool_planner import PoolPlannerRole
from weir.simulator.roles.router import RouterRole

__all__ = ["Roles"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Living and dead ones; GlobalPlanners may be added."""

    plane: Plane
    routers: list[RouterRole]
    global_planners: list[GlobalPlannerRole]
    pool_planners: list[PoolPlannerRole]
    operator: Operator

    @property
    def processes(self) -> list[Process]:
        """Every process of the control plane, the store and the cluster's API included."""
        return [*self.own_processes, self.plane.store.process, self.plane.cluster]

    @property
    def own_processes(self) -> list[Process]:
        """Those of routers and planners."""
        return [
            *(role.process for role in self.routers),
            *(role.process for role in self.global_planners),
            *(role.process for role in self.pool_planners),
        ]

    def pool_planner(self, pool_id: PoolId) -> PoolPlannerRole:
        return next(role for role in self.pool_planners if role.spec.id == pool_id)

    def leader(self) -> GlobalPlannerRole | None:
        """Who leads with the highest term; several may believe they do."""
        leading = [r for r in self.global_planners if r.planner is not None and r.planner.term]
        return max(leading, key=lambda role: role.planner.term if role.planner else 0, default=None)

    def add_global_planner(self) -> GlobalPlannerRole:
        """Another one, not started yet."""
        first = self.global_planners[0]
        role = GlobalPlannerRole(self.plane, f"global-planner-{len(self.global_planners) + 1}")
        role.mode, role.on_decision = first.mode, first.on_decision
        self.global_planners.append(role)
        return role
