"""How things stand, for people and dashboards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from globalplanner.core.budget.account import Account
from globalplanner.core.budget.ledger import Ledger
from globalplanner.core.operators.proposed import Proposal
from weir.domain.ids import ClassName, PoolId
from weir.domain.overrides import Overrides
from weir.domain.planning import PoolState, RoutingPlan

__all__ = [
    "Change",
    "Health",
    "LimitStanding",
    "PoolStanding",
    "Standing",
    "Waiting",
    "limit_standings",
    "pool_standings",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One pool's replicas were decided anew, at model time `at_s`."""

    at_s: float
    pool_id: PoolId
    before: int
    after: int
    reason: str
    decision_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStanding:
    """`state` and `report_age_s` are None if the pool has not reported to this leader."""

    pool_id: PoolId
    granted: int
    wanted: int
    charged_gpus: int
    state: PoolState | None
    report_age_s: float | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitStanding:
    """What of a limit is charged, in `unit`."""

    name: str
    unit: str
    most: int
    charged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A proposal that waits for an operator since `at_unix_s`."""

    proposal: Proposal
    at_unix_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """`term` is 0 when this process does not lead. `holding`: why nothing is decided.

    `infeasible`: classes that are offered and that nobody can serve within SLO.
    """

    term: int
    budget_gpus: int
    charged_gpus: int
    peak_charged_gpus: int
    violations: int
    pools: Sequence[PoolStanding]
    changes: Sequence[Change]
    plan: RoutingPlan | None
    holding: str
    overrides: Overrides
    mode: str
    proposals: Sequence[Waiting] = ()
    limits: Sequence[LimitStanding] = ()
    infeasible: Sequence[ClassName] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """`growing`: whether pools may grow now. Ages in wall seconds, None: never heard."""

    leading: bool
    term: int
    growing: bool
    traffic_age_s: float | None
    report_age_s: Mapping[PoolId, float]
    silent_pools: Sequence[PoolId]
    problem: str


def pool_standings(ledger: Ledger, wall_s: float) -> list[PoolStanding]:
    """Every pool's line, by name."""
    return [
        _pool_standing(account, ledger.waits_for(pool_id), wall_s)
        for pool_id, account in sorted(ledger.accounts.items())
    ]


def limit_standings(ledger: Ledger) -> list[LimitStanding]:
    """The budget first."""
    gpus = {id: a.charged * a.spec.gpus_per_replica for id, a in ledger.accounts.items()}
    return [
        LimitStanding(name=each.name, unit=each.unit, most=each.most, charged=each.used(gpus))
        for each in ledger.limits
    ]


def _pool_standing(account: Account, waits: str, wall_s: float) -> PoolStanding:
    report = account.report
    return PoolStanding(
        pool_id=account.spec.id,
        granted=account.granted,
        wanted=account.target,
        charged_gpus=account.charged * account.spec.gpus_per_replica,
        state=report.state if report else None,
        report_age_s=wall_s - account.reported_at_s if report else None,
        reason=f"{account.reason}; {waits}" if waits else account.reason,
    )
