"""What a decision must keep to: floors (B3), and nothing less while telemetry is out (B7).

B3: no step takes a pool below its minimum, and what a GlobalPlanner aims at leaves every pool's
floor free. Once faults are over, a pool below its floor gets what it asks for if there is room.

B7: a GlobalPlanner that has not heard of a router for longer than telemetry counts takes nothing
from any pool, for as long as it remembers that router (four times as long); nor from a pool
whose own planner has heard of no router. Fewer replicas because a limit is exceeded are B2's.

What people have said holds: a frozen pool stays as it is, a drained one does not grow, and while
decisions need approval nothing grows beyond its minimum that nobody has approved.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from globalplanner.core.budget.account import Account
from globalplanner.core.budget.ledger import Ledger
from globalplanner.core.budget.limits import Limit
from globalplanner.core.operators.proposals import Mode
from globalplanner.core.operators.proposed import Proposal
from globalplanner.service import GlobalPlanner
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
        self._approved: dict[PoolId, set[int]] = {}
        """What pools were to have in all that was ever approved."""
        world.journal.on_step.append(self._stepped)

    def decided(self, role: "GlobalPlannerRole", changes: Sequence[Change]) -> None:
        """A GlobalPlanner has decided, and aims at other replicas than before."""
        planner = role.planner
        if planner is None or planner.ledger is None:
            return
        ledger = planner.ledger
        for change in changes:
            self._obeys(role, planner, ledger.accounts[change.pool_id], change)
        after = {id: account.target for id, account in ledger.accounts.items()}
        before = after | {change.pool_id: change.before for change in reversed(changes)}
        self._leaves_floors(planner, ledger, before, after)
        fewer = [c for c in changes if self._takes(ledger.accounts[c.pool_id], planner, c)]
        seen = _Seen(planner, ledger)
        if fewer and all(seen.used(limit, before) <= limit.most for limit in ledger.limits):
            self._knows(role, ledger, fewer)

    def finish(self, calm_from_s: float) -> None:
        """Faults are over for long enough: floors are there."""
        if self._world.now_s < calm_from_s + _RECOVERED_S:
            return
        for pool in self._world.cluster.pools.values():
            withdrawn = pool.spec.id in self._withdrawn()
            short = pool.staying < pool.spec.min_replicas and not withdrawn
            if short and self._fits_one(pool.spec.id):
                self._log.found(
                    "B3",
                    f"pool {pool.spec.id} has {pool.staying} replicas, less than its minimum "
                    f"{pool.spec.min_replicas}, though there is room",
                )
        leader = self._world.roles.leader() if self._world.roles is not None else None
        if leader is None or leader.planner is None or leader.planner.ledger is None:
            return
        for id, account in leader.planner.ledger.accounts.items():
            if account.report is not None and account.report.withdrawn:
                continue
            wanted = min(account.target, self._specs[id].floor_replicas)
            if account.granted < wanted and self._fits_one(id):
                self._log.found(
                    "B3",
                    f"pool {id} is granted {account.granted} replicas of its floor {wanted}, "
                    "though there is room",
                )

    # --- floors ----------------------------------------------------------------------------

    def _stepped(self, step: Step) -> None:
        """Weir's own steps are looked at with what counted for it then."""
        if self._world.roles is not None:
            return
        least = self._specs[step.pool_id].min_replicas
        if step.after < min(step.before, least):
            self._log.found(
                "B3", f"pool {step.pool_id} is to have {step.after} replicas, at least {least}"
            )

    def _withdrawn(self) -> Collection[PoolId]:
        """Pools that say they can start no more."""
        roles = self._world.roles
        planners = roles.pool_planners if roles is not None else ()
        return [each.spec.id for each in planners if each.pace and each.pace.withdrawn]

    def _leaves_floors(
        self,
        planner: GlobalPlanner,
        ledger: Ledger,
        before: Mapping[PoolId, int],
        after: Mapping[PoolId, int],
    ) -> None:
        if any(account.report is None for account in ledger.accounts.values()):
            return
        seen = _Seen(planner, ledger)
        for limit in ledger.limits:
            aimed, was = seen.used(limit, after), seen.used(limit, before)
            if aimed > limit.most and aimed > was:
                self._log.found(
                    "B3",
                    f"{limit.name}: the allocation takes {aimed} of {limit.most} {limit.unit}, "
                    f"floors that are set aside included, {was} before",
                )

    def _takes(self, account: Account, planner: GlobalPlanner, change: Change) -> bool:
        """Whether it takes from a pool more than somebody has started there by hand.

        What operators take, or the pool gives back itself, is theirs.
        """
        if _ceiling(account, planner) is not None:
            return False
        return change.after < min(change.before, account.spec.most_replicas)

    def _fits_one(self, pool_id: PoolId) -> bool:
        return self._world.invariants.budget.fits(self._specs[pool_id])

    # --- people ---------------------------------------------------------------------------

    def approved(self, proposal: Proposal) -> None:
        """Somebody has approved it."""
        for change in proposal.changes:
            self._approved.setdefault(change.pool_id, set()).add(change.after)

    def _obeys(
        self, role: "GlobalPlannerRole", planner: GlobalPlanner, account: Account, change: Change
    ) -> None:
        id, overrides = change.pool_id, planner.overrides
        what = f"pool {id} is to have {change.after} replicas instead of {change.before}"
        least = account.spec.min_replicas
        if change.after < min(change.before, least) and _ceiling(account, planner) is None:
            self._log.found("B3", f"{what}, at least {least}")
        if id in overrides.frozen and id not in overrides.drained:
            self._log.found("frozen", f"{what}, though it is frozen")
        if change.after <= change.before:
            return
        if id in overrides.drained or account.leaving:
            self._log.found("drained", f"{what}, though it is to go")
        most = max(self._approved.get(id, ()), default=0)
        if role.gate.mode is Mode.APPROVE and change.after > max(least, most):
            self._log.found("approval", f"{what}, which nobody has approved")

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


def _ceiling(account: Account, planner: GlobalPlanner) -> int | None:
    """What the pool may have at most for now, because somebody has said so."""
    if account.leaving or account.spec.id in planner.overrides.drained:
        return 0
    report = account.report
    return report.acted_replicas if report is not None and report.withdrawn else None


@dataclass(frozen=True, slots=True)
class _Seen:
    """GPUs, or watts, as this planner reckons them."""

    planner: GlobalPlanner
    ledger: Ledger

    def used(self, limit: Limit, replicas: Mapping[PoolId, int]) -> int:
        """What pools take from each other: floors are set aside even while idle."""
        gpus = {}
        for id in limit.pools:
            account = self.ledger.accounts.get(id)
            if account is not None:
                floor, ceiling = account.spec.floor_replicas, _ceiling(account, self.planner)
                frozen = id in self.planner.overrides.frozen
                floor = floor if ceiling is None or frozen else min(floor, ceiling)
                gpus[id] = max(replicas[id], floor) * account.spec.gpus_per_replica
        return limit.used(gpus)


def _ages(ages: Sequence[float]) -> str:
    return ", ".join(f"{age_s:.1f}" for age_s in sorted(ages)) or "never"
