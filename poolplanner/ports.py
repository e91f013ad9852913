"""What the pool planner needs of the world. All calls end within a deadline of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from poolplanner.core.replicas import Replica
from weir.domain.errors import WeirError
from weir.domain.ids import ClassName, WorkerId
from weir.domain.overrides import ClassTargets
from weir.domain.planning import Grant, PoolMembers, PoolReport
from weir.domain.telemetry import TrafficSample

__all__ = [
    "Actuator",
    "Answer",
    "GrantSource",
    "MembersStore",
    "RefusedError",
    "StaleReportError",
    "TrafficSink",
    "Wake",
]


class RefusedError(WeirError):
    """The other side has understood and does not do it; nothing has happened."""


class StaleReportError(WeirError):
    """A newer report of the pool has been taken in before this one, which changed nothing.

    Of a planner that counts on from below, because the time of day has been set back.
    """

    def __init__(self, *, sequence: int, newest: int) -> None:
        super().__init__(f"report {sequence} is not newer than {newest}; counting on from there")
        self.newest = newest


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a report is answered with. `grant`: the newest one, None if there is none yet.

    `targets`: what classes are to meet now, where it differs from the document.
    """

    grant: Grant | None = None
    targets: Mapping[ClassName, ClassTargets] = field(default_factory=dict)


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

    async def report(self, report: PoolReport) -> Answer: ...


class MembersStore(Protocol):
    """Where routers look up members. Raises `UnavailableError`."""

    async def newest_version(self) -> int:
        """Version of the members that are stored, 0 if none are."""
        ...

    async def put(self, members: PoolMembers) -> None: ...


class TrafficSink(Protocol):
    """Takes in what routers count."""

    def on_traffic(self, sample: TrafficSample, now_s: float) -> object: ...


class Wake(Protocol):
    """Tells that there is a new grant to be had."""

    async def wait(self, timeout_s: float) -> None:
        """Until there is one, or a stop is requested, for `timeout_s` wall seconds at most."""
        ...
