"""Answers why from a decision log alone, where no GlobalPlanner is there to be asked."""

from collections.abc import Callable, Iterator, Sequence

from globalplanner.decisions import decision_text, wording
from globalplanner.decisions.history import History
from weir.domain.decision import DecisionRecord, Explanation
from weir.domain.errors import UnknownDecisionError, UnknownError
from weir.domain.ids import ClassName, PoolId

__all__ = ["LogExplainer"]

_RECENT = 20


class LogExplainer:
    """`newest_first` reads the log, each time from its newest decision on."""

    def __init__(
        self, newest_first: Callable[[], Iterator[DecisionRecord]], now_unix_s: float
    ) -> None:
        self._newest_first = newest_first
        self._history = History.of(newest_first())
        self._now_unix_s = now_unix_s

    def recent(self) -> Explanation:
        """The last decisions, newest first."""
        records = self._history.last(_RECENT)
        lines = decision_text.recent_lines(records, self._now_unix_s)
        return Explanation(lines=tuple(lines), record=self._history.newest)

    def decision(self, decision_id: str) -> Explanation:
        """Raises `UnknownDecisionError`. Looks through all of the log if need be."""
        record = self._history.find(decision_id) or next(
            (each for each in self._newest_first() if each.id == decision_id), None
        )
        if record is None:
            raise UnknownDecisionError(decision_id, [r.id for r in self._history.last(_RECENT)])
        lines = decision_text.decision_lines(record, self._now_unix_s)
        return Explanation(lines=tuple(lines), record=record)

    def pool(self, pool_id: PoolId) -> Explanation:
        """Raises `UnknownError`."""
        newest = self._history.newest
        part = next((p for p in newest.pools if p.pool_id == pool_id), None) if newest else None
        last = self._history.change_of(pool_id)
        if newest is None or (part is None and last is None):
            known = [pool.pool_id for pool in newest.pools] if newest else []
            raise UnknownError(f"the log tells of no pool {pool_id!r}; {_there_are(known)}")
        told = [f"pool {pool_id}, as of decision {newest.id}"]
        told.append(wording.line("when", wording.when(newest.at_unix_s, self._now_unix_s)))
        if part is not None:
            told += [
                wording.line("wanted", f"{part.after} replicas"),
                wording.line("why", part.reason or "nothing is said"),
            ]
        told.append(wording.line("last", decision_text.last_change(last, self._now_unix_s)))
        told += wording.lines("not done", decision_text.alternatives(newest.alternatives, pool_id))
        told += wording.lines("prices", decision_text.prices(newest.price_by_limit))
        record = self._history.find(last.decision_id) if last is not None else None
        return Explanation(lines=tuple(told), record=record)

    def of_class(self, name: ClassName) -> Explanation:
        """Raises `UnknownError`."""
        newest = self._history.newest
        if newest is None or name not in newest.class_reasons:
            known = sorted(newest.class_reasons) if newest else []
            raise UnknownError(f"the log tells of no class {name!r}; {_there_are(known)}")
        told = [f"class {name}, as of decision {newest.id}"]
        told.append(wording.line("when", wording.when(newest.at_unix_s, self._now_unix_s)))
        told.append(wording.line("why", newest.class_reasons[name]))
        told += wording.lines("prices", decision_text.prices(newest.price_by_limit))
        return Explanation(lines=tuple(told), record=newest)


def _there_are(known: Sequence[str]) -> str:
    return f"there are {wording.some(known, 20)}" if known else "it tells of none"
