"""The record of a planner that nobody else can overtake: it need not outlive the process.

The next process has no record: it counts every pool with its maximum until the pool says what it
has, and begins with that.
"""

import time

from weir.domain.errors import StaleRevisionError
from weir.domain.record import LedgerRecord

__all__ = ["MemoryRecords"]


class MemoryRecords:
    """A `RecordStore` in memory."""

    connected = True

    def __init__(self) -> None:
        self._record: LedgerRecord | None = None
        self._revision = 0

    async def read(self) -> tuple[LedgerRecord | None, int]:
        return self._record, self._revision

    async def write(self, record: LedgerRecord, revision: int) -> int:
        if revision != self._revision:
            raise StaleRevisionError(f"revision {revision} is not {self._revision}")
        self._record, self._revision = record, self._revision + 1
        return self._revision

    def new_term(self) -> int:
        """The time of day in milliseconds: above the terms of processes before this one."""
        return time.time_ns() // 1_000_000
