"""The pool planner's loop: list, announce, report, take the grant, act.

Nothing that goes wrong in a round ends the planner: it holds, says so, and tries again in the
next one. Its own end changes nothing either: replicas run on.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from poolplanner.announcer import Announcer
from poolplanner.core.pace import Pace, Steps
from poolplanner.core.replicas import Replica, ReplicaState, state_of
from poolplanner.core.report import Reporter
from poolplanner.metrics import Metrics
from poolplanner.ports import (
    Actuator,
    GrantSource,
    MembersStore,
    RefusedError,
    StaleReportError,
    Wake,
)
from poolplanner.troubles import Troubles
from weir.domain.errors import UnavailableError, WeirError
from weir.domain.ids import WorkerId
from weir.domain.planning import Grant
from weir.runtime.clock import Clock
from weir.runtime.lifecycle import Stop

__all__ = ["Origin", "PoolPlanner", "Schedule"]

_log = logging.getLogger("weir.poolplanner")
_SHORTEST_PAUSE_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """`interval_s`, `drain_s`: model seconds. The others: wall seconds.

    `unsettled_s`: an order whose outcome is unknown may still have one for so long.
    """

    interval_s: float
    drain_s: float
    silence_s: float
    refresh_s: float = 5.0
    unsettled_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where this process begins to count; above all that an earlier one has used."""

    sequence: int
    version: int


class PoolPlanner:
    """One pool. `acts` False: it reports and announces, but starts and stops nothing. `wake` ends
    the pause between two rounds. While `stands_by` says why, another process plans the pool and
    this one does nothing at all.

    Starts that an earlier process ordered may still happen for `unsettled_s`, and a leader before
    the present one may not know yet that it is none any more. So until then a planner that finds
    replicas or stored members takes no grant: it acts on none and acknowledges none.
    """

    def __init__(
        self,
        *,
        reporter: Reporter,
        pace: Pace,
        actuator: Actuator,
        planner: GrantSource,
        members: MembersStore,
        clock: Clock,
        metrics: Metrics,
        schedule: Schedule,
        origin: Origin,
        acts: bool = True,
        wake: Wake | None = None,
        stands_by: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._reporter = reporter
        self._pool = reporter.spec.id
        self._pace = pace
        self._actuator = actuator
        self._planner = planner
        self._clock = clock
        self._metrics = metrics
        self._schedule = schedule
        self._sequence = origin.sequence
        self._acts = acts
        self._wake = wake
        self._stands_by = stands_by
        self._replicas: Sequence[Replica] | None = None
        self._answered_at_s: float | None = None
        self._report_again = False
        self._began_at_s = clock.wall_s()
        self._is_first: bool | None = None
        """Of its pool's planners; None while it is not known."""
        self._troubles = Troubles(metrics)
        self._announcer = Announcer(
            self._pool,
            members,
            self._troubles,
            clock,
            version=origin.version,
            refresh_s=schedule.refresh_s,
        )

    @property
    def replicas(self) -> Sequence[Replica]:
        """As they were last listed; none before that."""
        return self._replicas or ()

    def not_ready(self) -> str | None:
        """Why this planner cannot do its work now; None if it can."""
        if why := self._stands_by():
            return why
        if trouble := self._troubles.get("actuator"):
            return trouble
        if self._replicas is None:
            return "replicas have not been listed yet"
        if self._pace.grant is None:
            return f"{self._why_none()}; holding"
        silent_s = self._clock.wall_s() - (self._answered_at_s or 0.0)
        if silent_s > self._schedule.silence_s:
            return f"the GlobalPlanner has been silent for {silent_s:.0f} s; holding"
        return None

    async def run(self, stop: Stop) -> None:
        """Plan every interval until `stop` is requested."""
        while not stop.requested:
            began_s = self._clock.wall_s()
            try:
                await self.tick()
            except Exception:
                self._metrics.error("internal")
                _log.exception("a planning round failed; holding")
            took_s = self._clock.wall_s() - began_s
            self._metrics.ticked(took_s)
            pause_s = self._clock.wall_span_s(self._schedule.interval_s) - took_s
            if self._report_again:
                pause_s = 0.0
            await self._rest(stop, max(_SHORTEST_PAUSE_S, pause_s))

    async def _rest(self, stop: Stop, pause_s: float) -> None:
        """Until the next round, or until there is something new to take over."""
        if self._wake is None:
            await stop.sleep(pause_s)
        elif not await stop.sleep(_SHORTEST_PAUSE_S):
            await self._wake.wait(pause_s - _SHORTEST_PAUSE_S)

    async def tick(self) -> None:
        """One round. Errors of the outside are counted and logged, not raised."""
        self._report_again = False
        if self._stands_by():
            self._begin_later()
            return
        replicas = await self._list()
        if replicas is None:
            if self._replicas is not None:
                await self._announce(self._replicas)
            return
        await self._announce(replicas)
        if self._is_first is None and self._announcer.succeeds is not None:
            self._is_first = not replicas and not self._announcer.succeeds
        await self._report(replicas)
        if self._acts:
            await self._act(replicas)

    def _begin_later(self) -> None:
        """As after a start: whoever plans the pool now may have ordered and announced things."""
        self._began_at_s, self._is_first = self._clock.wall_s(), None
        self._announcer.begin_anew()

    async def _list(self) -> Sequence[Replica] | None:
        try:
            replicas = await self._actuator.list()
        except WeirError as error:
            self._troubles.failed("actuator", error)
            return None
        self._troubles.recovered("actuator")
        self._replicas = replicas
        self._pace.see(replicas, self._clock.wall_s())
        return replicas

    async def _announce(self, replicas: Sequence[Replica]) -> None:
        """Publish who may be routed to; then drains can begin to settle."""
        if await self._announcer.announce(replicas, self._pace.draining):
            self._pace.announced(self._clock.wall_s())

    async def _report(self, replicas: Sequence[Replica]) -> None:
        """Hand in a report; take over the grant and the classes' targets that answer it.

        A new leader waits for the pool to say that it acts on its grant, so that is said at once.
        """
        self._sequence += 1
        sent_at_s = self._clock.wall_s()
        report = self._reporter.report(
            sequence=self._sequence,
            state=state_of(replicas, unsettled=self._pace.unsettled(sent_at_s)),
            grant=self._pace.grant,
            now_s=self._clock.now_s(),
            withdrawn_at=self._pace.most(sent_at_s) if self._pace.withdrawn else None,
            leaving=self._leaving(replicas),
        )
        self._metrics.holds(report.state)
        self._metrics.reported(report)
        try:
            answer = await self._planner.report(report)
        except StaleReportError as error:
            self._troubles.failed("global_planner", error)
            self._sequence = max(self._sequence, error.newest)
            self._report_again = True
            return
        except WeirError as error:
            self._troubles.failed("global_planner", error)
            return
        except Exception as error:  # whatever it is, the pool holds and asks again
            self._troubles.failed("global_planner", UnavailableError(repr(error)))
            return
        self._troubles.recovered("global_planner")
        self._answered_at_s = self._clock.wall_s()
        self._reporter.follow(answer.targets)
        grant = answer.grant
        if grant is not None and not self._inherits(sent_at_s):
            self._take(grant, sent_at_s)
            acts_on = self._pace.grant
            self._report_again = acts_on is not None and acts_on.term != report.acted_term

    def _leaving(self, replicas: Sequence[Replica]) -> frozenset[WorkerId]:
        ended = (r.id for r in replicas if r.state is ReplicaState.TERMINATING)
        return self._pace.draining.union(ended)

    def _inherits(self, at_s: float) -> bool:
        """Whether what an earlier process ordered may still happen."""
        return not self._is_first and at_s - self._began_at_s < self._schedule.unsettled_s

    def _why_none(self) -> str:
        if self._inherits(self._clock.wall_s()):
            return "what an earlier planner has ordered may still happen"
        return "no grant yet"

    def _take(self, grant: Grant, sent_at_s: float) -> None:
        before = self._pace.grant
        if grant.pool_id == self._pool:
            refusal = self._pace.offer(grant, sent_at_s=sent_at_s)
        else:
            refusal = f"it is for pool {grant.pool_id}"
        if refusal is not None:
            self._metrics.refused_grant()
            _log.warning("grant refused: %s %s", refusal, _named(grant))
            return
        self._metrics.granted(grant)
        if before is None or before.replicas != grant.replicas or before.term != grant.term:
            _log.info("granted %s", _named(grant))

    async def _act(self, replicas: Sequence[Replica]) -> None:
        steps = self._pace.step(replicas, self._clock.wall_s())
        grant = self._pace.grant
        if grant is None or steps == Steps():
            return
        for action, workers in (("drain", steps.drain), ("keep", steps.keep)):
            for worker_id in workers:
                self._metrics.decided(action)
                _log.info(
                    "%s replica=%s held=%d %s", action, worker_id, len(replicas), _named(grant)
                )
        if steps.drain or steps.keep:
            await self._announce(replicas)
        for worker_id in steps.stop:
            await self._stop(worker_id, grant)
        for number in range(steps.start):
            if not await self._start(grant, held=len(replicas) + number):
                break

    async def _start(self, grant: Grant, *, held: int) -> bool:
        """Start one replica; False if trying another one now makes no sense."""
        ordered_at_s = self._clock.wall_s()
        if not self._pace.valid(ordered_at_s):
            return False
        worker_id: WorkerId | None = None
        try:
            worker_id = await self._actuator.start(grant)
            self._troubles.recovered("start")
        except RefusedError as error:
            self._troubles.failed("start", error)
            if self._pace.refused(held, self._clock.wall_s()):
                _log.warning("gives GPUs back that it cannot use held=%d %s", held, _named(grant))
            return False
        except UnavailableError as error:
            self._troubles.failed("start", error)
        except BaseException:
            self._pace.started(None, self._clock.wall_s())
            raise
        self._pace.started(worker_id, self._clock.wall_s())
        self._metrics.decided("start")
        _log.info("start replica=%s held=%d %s", worker_id or "?", held, _named(grant))
        return worker_id is not None

    async def _stop(self, worker_id: WorkerId, grant: Grant) -> None:
        drain_s = self._schedule.drain_s
        try:
            await self._actuator.stop(worker_id, drain_s=drain_s)
        except WeirError as error:
            self._troubles.failed("stop", error)
            return
        self._troubles.recovered("stop")
        self._metrics.decided("stop")
        _log.info("stop replica=%s drain_s=%g %s", worker_id, drain_s, _named(grant))


def _named(grant: Grant) -> str:
    return (
        f"granted={grant.replicas} term={grant.term} epoch={grant.epoch}"
        f" reason={grant.reason or 'none given'!r}"
    )
