"""What a decision must keep to: floors (B3), and nothing less while telemetry is out (B7).

B3: no step takes a pool below its minimum, and what a GlobalPlanner aims at leaves every pool's
floor free. Once faults are over, a pool below its floor gets what it asks for if there is room.

B7: a GlobalPlanner that has not heard of a router for longer than telemetry counts takes nothing
from any pool, for as long as it remembers that router (four times as long); nor from a pool
whose own planner has heard of no router. Fewer replicas because a limit is exceeded are B2's.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from globalplanner.core.account import Account
from globalplanner.core.ledger import Ledger
from globalplanner.core.limits import Limit
from globalplanner.standing import Change
from weir.domain.ids import PoolId
from weir.simulator.invariants.log import ViolationLog
from weir.simulator.journal import Step

if TYPE_CHECKING:
    from weir.simulator.roles.global_planner import GlobalPlannerRole
    from weir.simulator.world import World

__all__ = ["DecisionRule"]

_CLOCK_ERROR = 0.06
_REMEMBERED = 4.0
_ON_ITS_WAY_S = 12.0
"""A report may be so old when it is read."""
_RECOVERED_S = 60.0
"""So long after the last fault everything is as it should be."""


class DecisionRule:
    def __init__(self, world: "World", log: ViolationLog) -> None:
        self._world = world
        self._log = log
        self._specs = {spec.id: spec for spec in world.fleet.pools}
        world.journal.on_step.append(self._stepped)

    def decided(self, role: "GlobalPlannerRole", changes: Sequence[Change]) -> None:
        """A GlobalPlanner has decided, and aims at other replicas than before."""
        planner = role.planner
        if planner is None or planner.ledger is None:
            return
        ledger = planner.ledger
        after = {id: account.target for id, account in ledger.accounts.items()}
        before = after | {change.pool_id: change.before for change in reversed(changes)}
        self._leaves_floors(ledger, before, after)
        fewer = [change for change in changes if self._takes(change)]
        if fewer and all(self._held(limit, before) for limit in ledger.limits):
            self._knows(role, ledger, fewer)

    def finish(self, calm_from_s: float) -> None:
        """Faults are over for long enough: floors are there."""
        if self._world.now_s < calm_from_s + _RECOVERED_S:
            return
        for pool in self._world.cluster.pools.values():
            if pool.staying < pool.spec.min_replicas and self._fits_one(pool.spec.id):
                self._log.found(
                    "B3",
                    f"pool {pool.spec.id} has {pool.staying} replicas, less than its minimum "
                    f"{pool.spec.min_replicas}, though there is room",
                )
        leader = self._world.roles.leader() if self._world.roles is not None else None
        if leader is None or leader.planner is None or leader.planner.ledger is None:
            return
        for id, account in leader.planner.ledger.accounts.items():
            wanted = min(account.target, self._specs[id].floor_replicas)
            if account.granted < wanted and self._fits_one(id):
                self._log.found(
                    "B3",
                    f"pool {id} is granted {account.granted} replicas of its floor {wanted}, "
                    "though there is room",
                )

    # --- floors ----------------------------------------------------------------------------

    def _stepped(self, step: Step) -> None:
        least = self._specs[step.pool_id].min_replicas
        if step.after < min(step.before, least):
            self._log.found(
                "B3", f"pool {step.pool_id} is to have {step.after} replicas, at least {least}"
            )

    def _leaves_floors(
        self, ledger: Ledger, before: Mapping[PoolId, int], after: Mapping[PoolId, int]
    ) -> None:
        if any(account.report is None for account in ledger.accounts.values()):
            return
        for limit in ledger.limits:
            aimed, was = self._used(limit, after), self._used(limit, before)
            if aimed > limit.gpus and aimed > was:
                self._log.found(
                    "B3",
                    f"{limit.name}: the allocation takes {aimed} of {limit.gpus} GPUs, floors "
                    f"that are set aside included, {was} before",
                )

    def _takes(self, change: Change) -> bool:
        """Whether it takes from a pool more than somebody has started there by hand."""
        return change.after < min(change.before, self._specs[change.pool_id].max_replicas)

    def _held(self, limit: Limit, replicas: Mapping[PoolId, int]) -> bool:
        return self._used(limit, replicas) <= limit.gpus

    def _used(self, limit: Limit, replicas: Mapping[PoolId, int]) -> int:
        """GPUs that pools take from each other: floors are set aside even while idle."""
        return sum(
            max(replicas[id], self._specs[id].floor_replicas) * self._specs[id].gpus_per_replica
            for id in limit.pools
        )

    def _fits_one(self, pool_id: PoolId) -> bool:
        return self._world.invariants.budget.fits(self._specs[pool_id])

    # --- telemetry -------------------------------------------------------------------------

    def _knows(self, role: "GlobalPlannerRole", ledger: Ledger, fewer: Sequence[Change]) -> None:
        now_s = self._world.now_s
        stale_s = self._world.planner_settings.telemetry_stale_s
        silent_s = stale_s * (1.0 + _CLOCK_ERROR)
        forgotten_s = _REMEMBERED * stale_s * (1.0 - _CLOCK_ERROR)
        ages = [now_s - at_s for at_s in role.heard.any_s.values()]
        silent = any(
            now_s - role.heard.any_s[id] > silent_s and now_s - at_s < forgotten_s
            for id, at_s in role.heard.newer_s.items()
        )
        if silent or not ages or min(ages) > silent_s:
            for change in fewer:
                self._found(change, f"routers were heard {_ages(ages)} s ago")
            return
        for change in fewer:
            account: Account = ledger.accounts[change.pool_id]
            heard_s = self._heard_by(account)
            if heard_s is not None and heard_s > silent_s + _ON_ITS_WAY_S:
                self._found(change, f"its planner has heard of no router for {heard_s:.1f} s")

    def _heard_by(self, account: Account) -> float | None:
        """How long ago the pool's planner has heard of a router; None if it is not up."""
        roles = self._world.roles
        role = roles.pool_planner(account.spec.id) if roles is not None else None
        if role is None or not role.process.alive:
            return None
        return self._world.now_s - max(role.heard.any_s.values(), default=role.began_s)

    def _found(self, change: Change, why: str) -> None:
        self._log.found(
            "B7",
            f"pool {change.pool_id} is to have {change.after} replicas instead of {change.before}, "
            f"though {why}",
        )


def _ages(ages: Sequence[float]) -> str:
    return ", ".join(f"{age_s:.1f}" for age_s in sorted(ages)) or "never"
