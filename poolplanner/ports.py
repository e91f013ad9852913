"""What the pool planner needs of the world. All calls end within a deadline of their own."""

from collections.abc import Sequence
from typing import Protocol

from poolplanner.core.replicas import Replica
from weir.domain.errors import WeirError
from weir.domain.ids import WorkerId
from weir.domain.planning import Grant, PoolMembers, PoolReport

__all__ = ["Actuator", "GrantSource", "MembersStore", "RefusedError", "StaleReportError"]


class RefusedError(WeirError):
    """The other side has understood and does not do it; nothing has happened."""


class StaleReportError(WeirError):
    """A newer report of the pool has been taken in before this one, which changed nothing.

    Of a planner that counts on from below, because the time of day has been set back.
    """

    def __init__(self, *, sequence: int, newest: int) -> None:
        super().__init__(f"report {sequence} is not newer than {newest}; counting on from there")
        self.newest = newest


class Actuator(Protocol):
    """Starts and stops replicas of one pool. `UnavailableError`: the outcome is unknown."""

    async def list(self) -> Sequence[Replica]: ...

    async def start(self, grant: Grant) -> WorkerId:
        """Start one replica under `grant`. Raises `RefusedError` if none was started."""
        ...

    async def stop(self, worker_id: WorkerId, *, drain_s: float) -> None:
        """Let a replica finish its streams for `drain_s` model seconds, then end it."""
        ...


class GrantSource(Protocol):
    """The GlobalPlanner. Raises `UnavailableError` if it does not answer or does not lead.

    `StaleReportError` if it knows a newer report.
    """

    async def report(self, report: PoolReport) -> Grant | None:
        """Hand in a report; the answer is the newest grant, None if there is none yet."""
        ...


class MembersStore(Protocol):
    """Where routers look up members. Raises `UnavailableError`."""

    async def newest_version(self) -> int:
        """Version of the members that are stored, 0 if none are."""
        ...

    async def put(self, members: PoolMembers) -> None: ...
