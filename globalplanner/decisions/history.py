"""The last decisions, in memory: bounded by their number and by the lines they hold."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from weir.domain.decision import DecisionRecord, Outcome, PoolChange
from weir.domain.ids import PoolId

__all__ = ["History", "LastChange"]

_DECISIONS = 500
_LINES = 50_000
"""A decision has a line for each pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastChange:
    """When a pool's replicas were last decided anew, or would have been."""

    decision_id: str
    at_unix_s: float
    outcome: Outcome
    change: PoolChange


class History:
    """Keeps at least the newest decision. What a pool was last given outlives the decision."""

    def __init__(self, *, decisions: int = _DECISIONS, lines: int = _LINES) -> None:
        self._most_decisions = decisions
        self._most_lines = lines
        self._lines = 0
        self._records: deque[DecisionRecord] = deque()
        self._changes: dict[PoolId, LastChange] = {}

    @classmethod
    def of(cls, newest_first: Iterable[DecisionRecord]) -> "History":
        """As much of it as there is room for, and no more is asked for."""
        kept, lines = [], 0
        for record in islice(newest_first, _DECISIONS):
            kept.append(record)
            lines += len(record.pools)
            if lines >= _LINES:
                break
        history = cls()
        for record in reversed(kept):
            history.keep(record)
        return history

    @property
    def newest(self) -> DecisionRecord | None:
        return self._records[-1] if self._records else None

    def keep(self, record: DecisionRecord) -> None:
        """`record` is newer than all there are."""
        self._records.append(record)
        self._lines += len(record.pools)
        for change in record.pools:
            if change.before != change.after:
                self._changes[change.pool_id] = LastChange(
                    decision_id=record.id,
                    at_unix_s=record.at_unix_s,
                    outcome=record.outcome,
                    change=change,
                )
        while len(self._records) > 1 and self._too_much:
            self._lines -= len(self._records.popleft().pools)

    def find(self, decision_id: str) -> DecisionRecord | None:
        return next((each for each in self._records if each.id == decision_id), None)

    def last(self, count: int) -> tuple[DecisionRecord, ...]:
        """The newest `count`, newest first."""
        return tuple(islice(reversed(self._records), count))

    def change_of(self, pool_id: PoolId) -> LastChange | None:
        return self._changes.get(pool_id)

    @property
    def _too_much(self) -> bool:
        return len(self._records) > self._most_decisions or self._lines > self._most_lines
