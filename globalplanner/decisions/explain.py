"""Answers why: of a pool, a class or a decision, from what stands now and what is on record."""

import time
from collections.abc import Callable

from globalplanner.core.arbiter.snapshot import Snapshot
from globalplanner.core.budget.ledger import Ledger
from globalplanner.decisions import decision_text
from globalplanner.decisions.class_text import ClassNow, class_lines
from globalplanner.decisions.decided import weighed_in
from globalplanner.decisions.history import History
from globalplanner.decisions.pool_now import pool_now
from globalplanner.decisions.pool_text import pool_lines
from globalplanner.decisions.standpoint import Standpoint
from weir.domain.decision import Explanation
from weir.domain.errors import (
    UnavailableError,
    UnknownClassError,
    UnknownDecisionError,
    UnknownPoolError,
)
from weir.domain.ids import ClassName, PoolId
from weir.domain.overrides import ClassTargets

__all__ = ["Explainer"]

_RECENT = 20


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
        last, latest = self._history.change_of(pool_id), self._planner.latest
        lines = pool_lines(
            pool_now(self._planner, ledger, moment, account, wall_s=self._wall_s()),
            last=decision_text.last_change(last, self._unix_s()),
            undone=decision_text.alternatives(weighed_in(latest) if latest else (), pool_id),
        )
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
