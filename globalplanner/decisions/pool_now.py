"""What there is to know of one pool at one moment, gathered for whoever asks why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from globalplanner.core.arbiter.snapshot import Decision, Lull, PoolView, Snapshot
from globalplanner.core.arbiter.worth import changed_by
from globalplanner.core.budget.account import Account
from globalplanner.core.budget.ledger import Ledger
from globalplanner.decisions.standpoint import Standpoint
from weir.domain.fleet import PoolSpec
from weir.domain.ids import PoolId

__all__ = ["LimitNow", "PoolNow", "Rival", "pool_now"]

_RIVALS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """Another pool that has GPUs. `loss`: what would not be served without one replica of it."""

    pool_id: PoolId
    gpus: int
    gpus_per_replica: int
    loss: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitNow:
    """A limit that counts the pool, in `unit`. `price`: what one more of it alone would add.

    `full`: it has no room for one more replica of the pool.
    """

    name: str
    unit: str
    most: int
    charged: int
    price: float
    full: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolNow:
    """What there is to know of one pool. `view`: None if the pool is not weighed.

    `desired`: what the last decision came to, which may wait for approval. `waits`: why it has
    less than its target. `gain`: what one more replica would add, None if that is unknown; if it
    would add something, `rivals` have the GPUs. `frozen`, `drained`: why operators have done so,
    None if they have not. `holding`: why demand is not weighed. `dwell_s`: how long less has to
    do before it shrinks.
    """

    account: Account
    view: PoolView | None
    age_s: float | None
    reason: str
    desired: int
    waits: str
    limits: Sequence[LimitNow] = ()
    gain: float | None = None
    rivals: Sequence[Rival] = ()
    lull: Lull | None = None
    now_s: float = 0.0
    dwell_s: float = 0.0
    utilization: float = 1.0
    frozen: str | None = None
    drained: str | None = None
    holding: str = ""
    mode: str = "act"


def pool_now(
    planner: Standpoint, ledger: Ledger, moment: Snapshot, account: Account, *, wall_s: float
) -> PoolNow:
    """`wall_s`: now. What replicas would come to is weighed here: a few small decisions."""
    id, latest = account.spec.id, planner.latest
    limits = _limits(ledger, account.spec, latest)
    gain = _gain(planner, ledger, moment, id)
    lull = latest.memory.lulls.get(id) if latest is not None else None
    short = gain is not None and gain > 0.0 and account.target < account.spec.most_replicas
    return PoolNow(
        account=account,
        view=next((view for view in moment.pools if view.spec.id == id), None),
        age_s=wall_s - account.reported_at_s if account.report is not None else None,
        reason=_reason(ledger, latest, id),
        desired=latest.replicas.get(id, account.target) if latest else account.target,
        waits=ledger.waits_for(id),
        limits=limits,
        gain=gain,
        rivals=_rivals(planner, ledger, moment, id, limits) if short else (),
        lull=lull,
        now_s=moment.now_s,
        dwell_s=planner.rules.dwell_s(account.spec, lull.replicas if lull is not None else 1),
        utilization=planner.rules.utilization,
        frozen=planner.overrides.frozen.get(id),
        drained=planner.overrides.drained.get(id),
        holding=moment.holding if moment.loads is None else "",
        mode=planner.gate.mode,
    )


def _reason(ledger: Ledger, latest: Decision | None, pool_id: PoolId) -> str:
    """Of the last decision, or of the last that the ledger was told of."""
    reasons: Mapping[PoolId, str] = latest.reasons if latest is not None else {}
    return reasons.get(pool_id) or ledger.accounts[pool_id].reason


def _limits(ledger: Ledger, spec: PoolSpec, latest: Decision | None) -> list[LimitNow]:
    charged = _charged_gpus(ledger)
    return [
        LimitNow(
            name=limit.name,
            unit=limit.unit,
            most=limit.most,
            charged=limit.used(charged),
            price=latest.prices.get(limit.name, 0.0) if latest is not None else 0.0,
            full=not limit.holds(charged | {spec.id: charged[spec.id] + spec.gpus_per_replica}),
        )
        for limit in ledger.limits
        if spec.id in limit.pools
    ]


def _gain(planner: Standpoint, ledger: Ledger, moment: Snapshot, pool_id: PoolId) -> float | None:
    if moment.loads is None:
        return None
    return changed_by(moment, planner.rules, _targets(ledger), {pool_id: 1})[pool_id]


def _rivals(
    planner: Standpoint,
    ledger: Ledger,
    moment: Snapshot,
    pool_id: PoolId,
    limits: Sequence[LimitNow],
) -> list[Rival]:
    """Who has most GPUs under the limits that are full."""
    full = {limit.name for limit in limits if limit.full}
    there = {id for limit in ledger.limits if limit.name in full for id in limit.pools}
    charged = {id: n for id, n in _charged_gpus(ledger).items() if n > 0 and id in there}
    most = sorted(charged.keys() - {pool_id}, key=lambda id: (-charged[id], id))[:_RIVALS]
    losses = changed_by(moment, planner.rules, _targets(ledger), dict.fromkeys(most, -1))
    return [
        Rival(
            pool_id=id,
            gpus=charged[id],
            gpus_per_replica=ledger.accounts[id].spec.gpus_per_replica,
            loss=-losses[id],
            reason=_reason(ledger, planner.latest, id),
        )
        for id in most
    ]


def _charged_gpus(ledger: Ledger) -> dict[PoolId, int]:
    return {id: a.charged * a.spec.gpus_per_replica for id, a in ledger.accounts.items()}


def _targets(ledger: Ledger) -> dict[PoolId, int]:
    return {id: account.target for id, account in ledger.accounts.items()}
