"""Who leads: whoever has written the record last, each time on top of what was there.

Invariant: a process that leads has written the record with its own term, and every write since
was its own. All writes compare and set, so one that another process has overtaken learns it with
its next write, and what it granted since was never sent. Clocks only tell when to try: a record
that has not changed for `lease_s` has lost its leader.

A write whose answer is missing may have happened, or may happen yet. Until a look at the record
has told, nothing is sent that needs it; the same write is not tried blindly.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from globalplanner.ports import RecordStore, Signal
from globalplanner.service import GlobalPlanner
from weir.domain.errors import StaleRevisionError, UnavailableError
from weir.domain.record import LedgerRecord
from weir.runtime.clock import Clock
from weir.runtime.lifecycle import Stop

__all__ = ["Leadership", "Lease"]

_log = logging.getLogger("weir.globalplanner")
_FIRST_RETRY_S = 0.1
_LONGEST_RETRY_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A record that stays as it is for `lease_s` (wall time) is taken over."""

    lease_s: float = 4.0

    @property
    def renew_s(self) -> float:
        """A leader writes at least so often."""
        return self.lease_s / 4.0

    @property
    def look_s(self) -> float:
        """Others look so often."""
        return self.lease_s / 8.0

    @property
    def unsure_s(self) -> float:
        """A leader that has not written for so long does not weigh demand any more."""
        return self.lease_s * 0.75


class Leadership:
    """`owner` names this process and this start of it. `announce` is told of every change."""

    def __init__(
        self,
        store: RecordStore,
        clock: Clock,
        lease: Lease,
        *,
        owner: str,
        changed: Signal,
        announce: Callable[[bool], Awaitable[None]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._lease = lease
        self._owner = owner
        self._changed = changed
        self._announce = announce
        self._announced = False
        self._term = 0
        """The highest it has tried to lead with."""
        self._revision = 0
        self._serial = 0
        self._pending: LedgerRecord | None = None
        """What was written without hearing whether it was."""
        self._seen_revision = -1
        self._seen_at_s = 0.0
        self._confirmed_at_s = float("-inf")

    def sure(self) -> bool:
        """Whether no later leader can have begun more than a moment ago."""
        recent = self._clock.wall_s() - self._confirmed_at_s <= self._lease.unsure_s
        return recent and self._store.connected

    @property
    def connected(self) -> bool:
        return self._store.connected

    def confirmed_age_s(self) -> float | None:
        """Wall seconds since the store last confirmed that this process leads."""
        age_s = self._clock.wall_s() - self._confirmed_at_s
        return age_s if age_s != float("inf") else None

    async def run(self, planner: GlobalPlanner, stop: Stop) -> None:
        """Lead if nobody does, and write what must not be lost, until `stop`."""
        failures = 0
        while not stop.requested:
            try:
                await self._step(planner)
                failures = 0
            except UnavailableError as error:
                failures += 1
                self._failed(planner, error, first=failures == 1)
            except Exception:
                failures += 1
                _log.exception("the record could not be looked after; trying again")
            if self._announced != (planner.term > 0):
                self._announced = planner.term > 0
                await self._announce(self._announced)
            if failures:
                await stop.sleep(min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2.0 ** min(failures, 8)))
            else:
                leads = planner.term > 0
                await self._changed.wait(self._lease.renew_s if leads else self._lease.look_s)
        await self._release(planner)

    async def _step(self, planner: GlobalPlanner) -> None:
        if self._pending is not None:
            await self._find_out(planner, self._pending)
        if planner.term:
            await self._write(planner)
        else:
            await self._look(planner)

    async def _look(self, planner: GlobalPlanner) -> None:
        """Take over a record that nobody looks after."""
        record, revision = await self._store.read()
        now_s = self._clock.wall_s()
        if revision != self._seen_revision:
            self._seen_revision, self._seen_at_s = revision, now_s
        led = record is not None and record.owner not in ("", self._owner)
        if led and now_s - self._seen_at_s < self._lease.lease_s:
            planner.yield_to(f"stands by, {record.owner if record else ''} leads")
            return
        least = record.term + 1 if record is not None else self._store.new_term()
        self._term = term = max(least, planner.seen_term + 1, self._term + 1)
        begun = planner.prepare(term, record, owner=self._owner)
        self._revision, self._serial = revision, 0
        if await self._put(planner, begun):
            planner.lead(begun)

    async def _write(self, planner: GlobalPlanner) -> None:
        self._serial += 1
        await self._put(planner, planner.record(owner=self._owner, serial=self._serial))

    async def _put(self, planner: GlobalPlanner, record: LedgerRecord) -> bool:
        """Whether the record is written now, for certain."""
        epoch, asked_at_s = planner.epoch, self._clock.wall_s()
        self._pending = record
        try:
            self._revision = await self._store.write(record, self._revision)
        except StaleRevisionError:
            await self._find_out(planner, record)
            return False
        self._pending = None
        self._confirmed_at_s = asked_at_s
        planner.written(record, epoch)
        return True

    async def _find_out(self, planner: GlobalPlanner, pending: LedgerRecord) -> None:
        """Look what has become of a write.

        Raises `UnavailableError` if the record is another's. If it is as it was before the write,
        that may still come, and the next write is refused for it; then one looks again.
        """
        record, revision = await self._store.read()
        own = record is not None and (record.owner, record.term) == (self._owner, pending.term)
        if own or revision == self._revision:
            self._revision, self._pending = revision, None
            return
        self._pending, self._seen_revision = None, -1
        who = f"{record.owner or 'nobody'} has it now" if record is not None else "it is lost"
        planner.yield_to(f"the record is not this leader's any more: {who}")
        raise UnavailableError(f"the record is not this leader's any more: {who}")

    async def _release(self, planner: GlobalPlanner) -> None:
        """End in good order: the next leader need not wait."""
        if not planner.term:
            return
        try:
            await self._store.write(planner.record(owner="", serial=self._serial), self._revision)
        except (UnavailableError, StaleRevisionError) as error:
            _log.warning("the record was not released: %s", error)
        planner.yield_to("has ended")

    def _failed(self, planner: GlobalPlanner, error: UnavailableError, *, first: bool) -> None:
        if planner.term == 0:
            planner.yield_to(f"no record: {error}")
        if first:
            _log.warning("the record is not written, nobody grows: %s", error)
