"""Answers why: of a pool, a class or a decision, from what stands now and what is on record."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from globalplanner import decision_text
from globalplanner.class_text import ClassNow, class_lines
from globalplanner.core.account import Account
from globalplanner.core.ledger import Ledger
from globalplanner.core.snapshot import Decision, Rules, Snapshot
from globalplanner.core.worth import changed_by
from globalplanner.decided import weighed_in
from globalplanner.history import History
from globalplanner.pool_text import LimitNow, PoolNow, Rival, pool_lines
from globalplanner.ports import Gate
from weir.domain.decision import Explanation
from weir.domain.errors import (
    UnavailableError,
    UnknownClassError,
    UnknownDecisionError,
    UnknownPoolError,
)
from weir.domain.fleet import PoolSpec
from weir.domain.ids import ClassName, PoolId
from weir.domain.overrides import ClassTargets, Overrides
from weir.domain.planning import RoutingPlan

__all__ = ["Explainer", "Standpoint"]

_RECENT = 20
_RIVALS = 3


class Standpoint(Protocol):
    """What the GlobalPlanner knows. `latest`: the last decision, whether it changed anything."""

    @property
    def overrides(self) -> Overrides: ...
    @property
    def rules(self) -> Rules: ...
    @property
    def plan(self) -> RoutingPlan | None: ...
    @property
    def ledger(self) -> Ledger | None: ...
    @property
    def latest(self) -> Decision | None: ...
    @property
    def gate(self) -> Gate: ...
    def moment(self) -> Snapshot | None: ...
    def not_ready(self) -> str | None: ...


class Explainer:
    """`wall_s`: the clock that reports are dated with. `unix_s`: that of decisions.

    Only who leads can tell: everything raises `UnavailableError` while this process does not.
    """

    def __init__(
        self,
        planner: Standpoint,
        history: History,
        *,
        wall_s: Callable[[], float] = time.monotonic,
        unix_s: Callable[[], float] = time.time,
    ) -> None:
        self._planner = planner
        self._history = history
        self._wall_s = wall_s
        self._unix_s = unix_s

    def recent(self) -> Explanation:
        """The last decisions, newest first."""
        self._leading()
        records = self._history.last(_RECENT)
        lines = decision_text.recent_lines(records, self._unix_s())
        return Explanation(lines=tuple(lines), record=self._history.newest)

    def decision(self, decision_id: str) -> Explanation:
        """Raises `UnknownDecisionError`."""
        self._leading()
        record = self._history.find(decision_id)
        if record is None:
            raise UnknownDecisionError(decision_id, [r.id for r in self._history.last(_RECENT)])
        lines = decision_text.decision_lines(record, self._unix_s())
        return Explanation(lines=tuple(lines), record=record)

    def pool(self, pool_id: PoolId) -> Explanation:
        """With the decision that changed it last. Raises `UnknownPoolError`."""
        ledger, moment = self._leading()
        account = ledger.accounts.get(pool_id)
        if account is None:
            raise UnknownPoolError(pool_id, sorted(ledger.accounts))
        lines = pool_lines(self._pool_now(ledger, moment, account))
        last = self._history.change_of(pool_id)
        record = self._history.find(last.decision_id) if last is not None else None
        return Explanation(lines=tuple(lines), record=record)

    def of_class(self, name: ClassName) -> Explanation:
        """With the newest decision. Raises `UnknownClassError`."""
        _, moment = self._leading()
        specs = {spec.name: spec for spec in moment.classes}
        if name not in specs:
            raise UnknownClassError(name, sorted(specs))
        plan, latest = self._planner.plan, self._planner.latest
        this = ClassNow(
            spec=specs[name],
            load=(moment.loads or {}).get(name),
            reason=latest.class_reasons.get(name, "") if latest is not None else "",
            pools=moment.pools,
            shares=plan.shares.get(name, {}) if plan is not None else {},
            spill=plan.spill.get(name, {}) if plan is not None else {},
            changed=self._planner.overrides.targets.get(name, ClassTargets()),
            prices=decision_text.prices(latest.prices if latest is not None else {}),
            holding=moment.holding if moment.loads is None else "",
        )
        return Explanation(lines=tuple(class_lines(this)), record=self._history.newest)

    def _leading(self) -> tuple[Ledger, Snapshot]:
        ledger, moment = self._planner.ledger, self._planner.moment()
        if ledger is None or moment is None:
            raise UnavailableError(f"this GlobalPlanner {self._planner.not_ready()}")
        return ledger, moment

    def _pool_now(self, ledger: Ledger, moment: Snapshot, account: Account) -> PoolNow:
        planner, id = self._planner, account.spec.id
        latest = planner.latest
        reasons: Mapping[PoolId, str] = latest.reasons if latest is not None else {}
        limits = self._limits(ledger, account.spec, latest)
        gain = self._gain(ledger, moment, id)
        short = gain is not None and gain > 0.0 and account.target < account.spec.most_replicas
        return PoolNow(
            account=account,
            view=next((view for view in moment.pools if view.spec.id == id), None),
            age_s=self._wall_s() - account.reported_at_s if account.report is not None else None,
            reason=reasons.get(id) or account.reason,
            desired=latest.replicas.get(id, account.target) if latest else account.target,
            waits=ledger.waits_for(id),
            last=self._last_of(id),
            limits=limits,
            gain=gain,
            rivals=self._rivals(ledger, moment, id, limits, reasons) if short else (),
            alternatives=decision_text.alternatives(weighed_in(latest) if latest else (), id),
            lull=latest.memory.lulls.get(id) if latest is not None else None,
            now_s=moment.now_s,
            dwell_s=planner.rules.scale_down_dwell_s,
            utilization=planner.rules.utilization,
            frozen=planner.overrides.frozen.get(id),
            drained=planner.overrides.drained.get(id),
            holding=moment.holding if moment.loads is None else "",
            mode=planner.gate.mode,
        )

    def _limits(self, ledger: Ledger, spec: PoolSpec, latest: Decision | None) -> list[LimitNow]:
        charged = _charged_gpus(ledger)
        return [
            LimitNow(
                name=limit.name,
                gpus=limit.gpus,
                charged_gpus=limit.used(charged),
                price=latest.prices.get(limit.name, 0.0) if latest is not None else 0.0,
                full=limit.used(charged) + spec.gpus_per_replica > limit.gpus,
            )
            for limit in ledger.limits
            if spec.id in limit.pools
        ]

    def _gain(self, ledger: Ledger, moment: Snapshot, pool_id: PoolId) -> float | None:
        if moment.loads is None:
            return None
        return changed_by(moment, self._planner.rules, _targets(ledger), {pool_id: 1})[pool_id]

    def _rivals(
        self,
        ledger: Ledger,
        moment: Snapshot,
        pool_id: PoolId,
        limits: Sequence[LimitNow],
        reasons: Mapping[PoolId, str],
    ) -> list[Rival]:
        """Who has most GPUs under the limits that are full."""
        full = {limit.name for limit in limits if limit.full}
        there = {id for limit in ledger.limits if limit.name in full for id in limit.pools}
        charged = {id: n for id, n in _charged_gpus(ledger).items() if n > 0 and id in there}
        most = sorted(charged.keys() - {pool_id}, key=lambda id: (-charged[id], id))[:_RIVALS]
        rules, targets = self._planner.rules, _targets(ledger)
        losses = changed_by(moment, rules, targets, dict.fromkeys(most, -1))
        return [
            Rival(
                pool_id=id,
                gpus=charged[id],
                gpus_per_replica=ledger.accounts[id].spec.gpus_per_replica,
                loss=-losses[id],
                reason=reasons.get(id) or ledger.accounts[id].reason,
            )
            for id in most
        ]

    def _last_of(self, pool_id: PoolId) -> str:
        return decision_text.last_change(self._history.change_of(pool_id), self._unix_s())


def _charged_gpus(ledger: Ledger) -> dict[PoolId, int]:
    return {id: a.charged * a.spec.gpus_per_replica for id, a in ledger.accounts.items()}


def _targets(ledger: Ledger) -> dict[PoolId, int]:
    return {id: account.target for id, account in ledger.accounts.items()}
