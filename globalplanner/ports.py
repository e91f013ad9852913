"""What the GlobalPlanner needs of the world. All calls end within a deadline of their own."""

from typing import Protocol

from weir.domain.planning import RoutingPlan
from weir.domain.record import LedgerRecord

__all__ = ["PlanStore", "RecordStore", "Signal"]


class RecordStore(Protocol):
    """The one durable record of the fleet. Raises `UnavailableError`."""

    @property
    def connected(self) -> bool:
        """Whether the store can be asked now."""
        ...

    async def read(self) -> tuple[LedgerRecord | None, int]:
        """The record and its revision; (None, 0) if there is none. Never an older one."""
        ...

    async def write(self, record: LedgerRecord, revision: int) -> int:
        """Write the record if its revision is still this one; returns the new one.

        Raises `StaleRevisionError` if it is not. After `UnavailableError` it may have been
        written, or may be written later.
        """
        ...

    def new_term(self) -> int:
        """A term for a store that has no record: above any that it may have lost."""
        ...


class PlanStore(Protocol):
    """Where routers look up the plan. Raises `UnavailableError`."""

    async def put(self, plan: RoutingPlan) -> None: ...


class Signal(Protocol):
    """Wakes one who waits."""

    def set(self) -> None: ...

    async def wait(self, timeout_s: float) -> None:
        """Until it is set, or was since the last wait, for `timeout_s` wall seconds at most."""
        ...
