"""The loop with its neighbours replaced: what it does when they fail."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from poolplanner.core.observe import Telemetry
from poolplanner.core.pace import Pace
from poolplanner.core.replicas import Replica, ReplicaState
from poolplanner.core.report import Reporter
from poolplanner.metrics import Metrics
from poolplanner.ports import Answer, RefusedError, StaleReportError
from poolplanner.service import Origin, PoolPlanner, Schedule
from tests.unit.poolplanner.pools import CLASSES, POOL, SMALL, pool_spec
from weir.domain.errors import UnavailableError
from weir.domain.ids import ClassName, PoolId, WorkerId
from weir.domain.overrides import ClassTargets
from weir.domain.planning import Grant, PoolMembers, PoolReport, PoolState
from weir.runtime.clock import Clock
from weir.runtime.lifecycle import Stop
from weir.runtime.signal import Signal

R, S, T = ReplicaState.READY, ReplicaState.STARTING, ReplicaState.TERMINATING


@dataclass
class World:
    """Actuator, GlobalPlanner and members bucket in one; `broken` names what does not answer."""

    replicas: dict[WorkerId, ReplicaState] = field(default_factory=dict)
    grant: Grant | None = None
    targets: dict[ClassName, ClassTargets] = field(default_factory=dict)
    stored_version: int = 0
    broken: set[str] = field(default_factory=set)
    failing: Exception | None = None
    lists: int = 0
    reports: list[PoolReport] = field(default_factory=list)
    puts: list[PoolMembers] = field(default_factory=list)
    stops: list[tuple[WorkerId, float]] = field(default_factory=list)

    def _check(self, name: str) -> None:
        if name in self.broken:
            raise UnavailableError(f"{name} is away")

    async def list(self) -> Sequence[Replica]:
        self._check("actuator")
        return [
            Replica(id=worker_id, state=state, host="h", port=9000, in_flight=0)
            for worker_id, state in self.replicas.items()
        ]

    async def start(self, grant: Grant) -> WorkerId:
        self._check("start")
        if "gpus" in self.broken:
            raise RefusedError("no GPUs are left")
        worker_id = WorkerId(f"r{len(self.replicas)}")
        self.replicas[worker_id] = S
        return worker_id

    async def stop(self, worker_id: WorkerId, *, drain_s: float) -> None:
        self._check("stop")
        self.stops.append((worker_id, drain_s))
        self.replicas[worker_id] = T

    async def report(self, report: PoolReport) -> Answer:
        self.reports.append(report)
        self._check("global_planner")
        if self.failing is not None:
            raise self.failing
        return Answer(grant=self.grant, targets=self.targets)

    async def newest_version(self) -> int:
        self._check("members")
        return self.stored_version

    async def put(self, members: PoolMembers) -> None:
        self._check("members")
        self.puts.append(members)


class _Time(Clock):
    """A clock that stands still until it is moved."""

    at_s = 1000.0

    def now_s(self) -> float:
        return self.at_s

    @staticmethod
    def wall_s() -> float:
        return _Time.at_s


@pytest.fixture(autouse=True)
def _time() -> None:
    _Time.at_s = 1000.0


def _planner(
    world: World,
    *,
    acts: bool = True,
    unsettled_s: float = 0.0,
    interval_s: float = 2.0,
    wake: Signal | None = None,
    stands_by: Callable[[], str | None] = lambda: None,
) -> tuple[PoolPlanner, Metrics]:
    metrics = Metrics(POOL)
    reporter = Reporter(
        spec=pool_spec(),
        classes=CLASSES,
        telemetry=Telemetry(pool_id=POOL, stale_s=15.0),
        utilization=0.8,
        osl_prior_tokens=256.0,
    )
    planner = PoolPlanner(
        reporter=reporter,
        pace=Pace(max_replicas=4),
        actuator=world,
        planner=world,
        members=world,
        clock=_Time(),
        metrics=metrics,
        schedule=Schedule(
            interval_s=interval_s, drain_s=60.0, silence_s=15.0, unsettled_s=unsettled_s
        ),
        origin=Origin(sequence=500, version=700),
        acts=acts,
        wake=wake,
        stands_by=stands_by,
    )
    return planner, metrics


async def _tick(planner: PoolPlanner, after_s: float = 2.0) -> None:
    _Time.at_s += after_s
    await planner.tick()


def _grant(replicas: int, epoch: int = 1) -> Grant:
    return Grant(pool_id=POOL, term=1, epoch=epoch, replicas=replicas, valid_s=15.0, reason="load")


def _errors(metrics: Metrics, reason: str) -> float:
    labels = {"pool": POOL, "reason": reason}
    return metrics.registry.get_sample_value("weir_poolplanner_tick_errors_total", labels) or 0.0


async def test_a_pool_grows_from_nothing_and_announces_what_is_ready() -> None:
    world = World(grant=_grant(2))
    planner, _ = _planner(world)
    await _tick(planner)
    assert list(world.replicas.values()) == [S, S]
    world.replicas = dict.fromkeys(world.replicas, R)
    await _tick(planner)
    assert world.reports[-1].state == PoolState(ready=2, starting=0, terminating=0)
    assert (world.reports[-1].acted_epoch, world.reports[-1].acted_replicas) == (1, 2)
    assert [w.id for w in world.puts[-1].workers] == ["r0", "r1"]


async def test_sequences_and_versions_rise_also_above_those_of_an_earlier_process() -> None:
    world = World(replicas={WorkerId("a"): R}, stored_version=9000)
    planner, _ = _planner(world)
    await _tick(planner)
    await _tick(planner)
    assert [report.sequence for report in world.reports] == [501, 502]
    assert world.puts[0].version > 9000


async def test_a_failed_report_is_followed_by_one_with_the_next_sequence() -> None:
    world = World(broken={"global_planner"})
    planner, metrics = _planner(world)
    await _tick(planner)
    world.broken.clear()
    await _tick(planner)
    assert [report.sequence for report in world.reports] == [501, 502]
    assert _errors(metrics, "global_planner") == 1


async def test_a_shrink_is_announced_before_it_is_ordered() -> None:
    world = World(replicas={WorkerId("a"): R, WorkerId("b"): R}, grant=_grant(1))
    planner, _ = _planner(world)
    await _tick(planner)
    assert [w.draining for w in world.puts[-1].workers] == [False, True]
    assert world.stops == []
    await _tick(planner)
    assert world.stops == [("b", 60.0)]


async def test_nothing_ready_is_stopped_while_routers_cannot_be_told() -> None:
    world = World(replicas={WorkerId("a"): R, WorkerId("b"): R}, grant=_grant(1))
    planner, metrics = _planner(world)
    world.broken = {"members"}
    for _ in range(5):
        await _tick(planner)
    assert world.stops == [] and _errors(metrics, "members") > 0
    world.broken.clear()
    await _tick(planner)
    assert world.stops == []
    await _tick(planner)
    assert world.stops == [("b", 60.0)]


async def test_while_the_global_planner_is_away_the_pool_holds_and_keeps_members_fresh() -> None:
    world = World(replicas={WorkerId("a"): R}, grant=_grant(2))
    planner, _ = _planner(world)
    await _tick(planner)
    world.broken = {"global_planner"}
    world.replicas = {WorkerId("a"): R}
    for _ in range(10):
        await _tick(planner, 20.0)
    assert list(world.replicas) == ["a"]
    assert "silent" in (planner.not_ready() or "")
    assert len(world.puts) >= 10


@pytest.mark.parametrize(
    "error",
    [
        UnavailableError("away"),
        RefusedError("another document"),
        StaleReportError(sequence=1, newest=2),
        ValueError("a malformed answer"),
        TimeoutError(),
        OSError("no route to host"),
        RuntimeError("a defect of the client"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_a_report_fails_with_the_pool_holds_and_goes_on_when_it_is_over(
    error: Exception,
) -> None:
    world = World(replicas={WorkerId("a"): R, WorkerId("b"): R}, grant=_grant(2))
    planner, metrics = _planner(world)
    await _tick(planner)
    world.failing = error
    del world.replicas[WorkerId("b")]
    await _tick(planner, after_s=15.0)
    held = dict(world.replicas)
    for _ in range(10):
        await _tick(planner)
    # The grant has run out: nothing is started in place of what is gone, and nothing is stopped.
    assert world.replicas == held == {WorkerId("a"): R}
    assert world.stops == []
    assert _errors(metrics, "global_planner") == 11
    assert planner.not_ready() is not None
    sequences = [report.sequence for report in world.reports]
    assert sequences == sorted(set(sequences))
    world.failing = None
    world.grant = _grant(3, epoch=2)
    await _tick(planner)
    assert planner.not_ready() is None
    assert len(world.replicas) == 3


async def test_a_shrink_that_was_granted_is_carried_out_while_the_global_planner_is_away() -> None:
    world = World(replicas={WorkerId(name): R for name in "abc"}, grant=_grant(3))
    planner, _ = _planner(world)
    await _tick(planner)
    world.grant = _grant(1, epoch=2)
    await _tick(planner)
    world.broken = {"global_planner"}
    for _ in range(15):
        await _tick(planner)
    assert sorted(world.replicas.values()) == [R, T, T]
    assert len({worker_id for worker_id, _ in world.stops}) == 2


async def test_without_an_actuator_there_is_no_report_but_members_stay() -> None:
    world = World(replicas={WorkerId("a"): R}, grant=_grant(1))
    planner, metrics = _planner(world)
    await _tick(planner)
    world.broken = {"actuator"}
    await _tick(planner, 6.0)
    assert len(world.reports) == 1
    assert [w.id for w in world.puts[-1].workers] == ["a"] and len(world.puts) == 2
    assert planner.not_ready() == "actuator is away"
    assert _errors(metrics, "actuator") == 1


async def test_a_start_without_an_answer_is_reported_as_starting_and_not_repeated() -> None:
    world = World(grant=_grant(2), broken={"start"})
    planner, _ = _planner(world)
    await _tick(planner)
    await _tick(planner)
    # One start may have happened; the second one is ordered, also without an answer.
    assert world.reports[-1].state == PoolState(ready=0, starting=1, terminating=0)
    await _tick(planner)
    assert world.reports[-1].state.starting == 2
    world.broken.clear()
    await _tick(planner)
    assert world.replicas == {}


async def test_a_refused_start_has_not_happened_and_is_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(grant=_grant(1), broken={"gpus"})
    planner, metrics = _planner(world)
    with caplog.at_level(logging.INFO, "weir.poolplanner"):
        for _ in range(2):
            await _tick(planner)
        assert world.reports[-1].state.held == 0
        world.broken.clear()
        await _tick(planner)
    assert len(world.replicas) == 1 and _errors(metrics, "start") == 2
    refusals = [r for r in caplog.messages if "no GPUs are left" in r]
    assert len(refusals) == 1


async def test_what_it_cannot_start_it_gives_back() -> None:
    world = World(grant=_grant(3), broken={"gpus"})
    planner, _ = _planner(world)
    for _ in range(4):
        await _tick(planner)
    last = world.reports[-1]
    assert (last.withdrawn, last.acted_epoch, last.acted_replicas) == (True, _grant(3).epoch, 0)
    world.broken.clear()
    await _tick(planner)
    assert world.replicas == {}, "what it gave back may be another's"


async def test_a_grant_for_another_pool_is_refused() -> None:
    world = World(grant=replace(_grant(2), pool_id=PoolId("other")))
    planner, metrics = _planner(world)
    await _tick(planner)
    assert world.replicas == {}
    labels = {"pool": POOL}
    refused = metrics.registry.get_sample_value("weir_poolplanner_refused_grants_total", labels)
    assert refused == 1


async def test_a_pool_without_scaling_reports_and_announces_but_is_left_alone() -> None:
    world = World(replicas={WorkerId("a"): R, WorkerId("b"): R}, grant=_grant(1))
    planner, _ = _planner(world, acts=False)
    for _ in range(4):
        await _tick(planner)
    assert world.stops == [] and len(world.reports) == 4
    assert [w.draining for w in world.puts[-1].workers] == [False, False]


async def test_each_decision_is_one_line_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    world = World(grant=_grant(1))
    planner, _ = _planner(world)
    with caplog.at_level(logging.INFO, "weir.poolplanner"):
        await _tick(planner)
    (line,) = [text for text in caplog.messages if text.startswith("start ")]
    assert line == "start replica=r0 held=0 granted=1 term=1 epoch=1 reason='load'"


async def test_a_defect_in_a_round_does_not_end_the_planner() -> None:
    class Defective(World):
        async def list(self) -> Sequence[Replica]:
            self.lists += 1
            if self.lists == 1:
                raise KeyError("defect")
            stop.set()
            return await super().list()

    stop = Stop()
    world = Defective()
    planner, metrics = _planner(world)
    planner._schedule = replace(planner._schedule, interval_s=0.01)
    await planner.run(stop)
    assert world.lists == 2 and _errors(metrics, "internal") == 1


async def test_readiness_says_what_is_missing() -> None:
    world = World()
    planner, _ = _planner(world)
    assert planner.not_ready() == "replicas have not been listed yet"
    await _tick(planner)
    assert planner.not_ready() == "no grant yet; holding"
    world.grant = _grant(0)
    await _tick(planner)
    assert planner.not_ready() is None


async def test_after_another_planner_no_grant_is_taken_until_its_orders_are_settled() -> None:
    world = World(replicas={WorkerId("r0"): R}, grant=_grant(2), stored_version=900)
    planner, _ = _planner(world, unsettled_s=10.0)
    for _ in range(4):
        await _tick(planner)
    assert planner.not_ready() == "what an earlier planner has ordered may still happen; holding"
    assert [report.acted_term for report in world.reports] == [0, 0, 0, 0]
    assert list(world.replicas) == ["r0"]
    await _tick(planner)
    assert list(world.replicas) == ["r0", "r1"]


@pytest.mark.parametrize(("listed", "stored"), [(0, 900), (1, 0)])
async def test_replicas_or_stored_members_tell_of_another_planner(listed: int, stored: int) -> None:
    replicas: dict[WorkerId, ReplicaState] = {WorkerId(f"r{number}"): R for number in range(listed)}
    world = World(replicas=replicas, grant=_grant(2), stored_version=stored)
    planner, _ = _planner(world, unsettled_s=10.0)
    await _tick(planner)
    assert len(world.replicas) == listed


async def test_the_first_planner_of_a_pool_acts_at_once() -> None:
    world = World(grant=_grant(2))
    planner, _ = _planner(world, unsettled_s=10.0)
    await _tick(planner)
    assert len(world.replicas) == 2


async def test_a_planner_that_counts_from_below_goes_on_above_what_is_known() -> None:
    # The time of day was set back: its reports would change nothing for ever.
    class Ahead(World):
        async def report(self, report: PoolReport) -> Answer:
            self.reports.append(report)
            if report.sequence <= 9000:
                raise StaleReportError(sequence=report.sequence, newest=9000)
            return Answer(grant=self.grant)

    world = Ahead(grant=_grant(1))
    planner, _ = _planner(world)
    await _tick(planner)
    await _tick(planner)
    assert [report.sequence for report in world.reports] == [501, 9001]
    assert len(world.replicas) == 1


async def test_targets_that_answer_a_report_count_in_the_next_one_until_they_are_gone() -> None:
    # A prompt of 1,024 tokens takes 0.1 s even alone.
    world = World(grant=_grant(1), targets={SMALL: ClassTargets(ttft_s=0.05)})
    planner, _ = _planner(world)
    await _tick(planner)
    await _tick(planner)
    world.targets = {}
    await _tick(planner)
    await _tick(planner)
    served = [SMALL in report.capacity_rps for report in world.reports]
    assert served == [True, False, False, True]


async def test_targets_hold_while_the_global_planner_is_away() -> None:
    world = World(grant=_grant(1), targets={SMALL: ClassTargets(ttft_s=0.05)})
    planner, _ = _planner(world)
    await _tick(planner)
    world.broken = {"global_planner"}
    await _tick(planner)
    await _tick(planner)
    assert [SMALL in report.capacity_rps for report in world.reports] == [True, False, False]


async def test_a_grant_of_a_new_leader_is_acknowledged_at_once() -> None:
    world = World(grant=_grant(1))
    planner, _ = _planner(world)
    stop = _CountedStop(rounds=3)
    await planner.run(stop)
    assert [report.acted_term for report in world.reports] == [0, 1, 1]
    assert [round(pause_s, 2) for pause_s in stop.pauses_s] == [0.01, 2.0, 2.0]


async def test_a_grant_that_is_pushed_begins_a_round_at_once() -> None:
    stop = Stop()
    wake = Signal(stop)
    world = World(grant=_grant(1))
    planner, _ = _planner(world, wake=wake, interval_s=1000.0)
    running = asyncio.create_task(planner.run(stop))
    async with asyncio.timeout(30.0):  # the interval is far longer
        while len(world.reports) < 2:
            await asyncio.sleep(0.005)
        world.grant = _grant(3, epoch=2)
        wake.set()
        while len(world.replicas) < 3:
            await asyncio.sleep(0.005)
    stop.set()
    await running


class _CountedStop(Stop):
    """Ends after so many rounds and does not sleep."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self.pauses_s: list[float] = []
        self._rounds = rounds

    async def sleep(self, wall_s: float) -> bool:
        self.pauses_s.append(wall_s)
        if len(self.pauses_s) == self._rounds:
            self.set()
        return self.requested


async def test_who_stands_by_does_nothing_and_takes_over_as_if_it_had_just_begun() -> None:
    world = World(replicas={WorkerId("a"): R}, grant=_grant(2), stored_version=900)
    why: list[str | None] = ["another process leads"]
    planner, _ = _planner(world, unsettled_s=10.0, stands_by=lambda: why[0])
    for _ in range(10):
        await _tick(planner)
    assert planner.not_ready() == "another process leads"
    assert (world.reports, world.puts) == ([], [])
    why[0] = None
    await _tick(planner)
    # Above what was stored by then; starts of the other one may still happen for ten seconds.
    assert len(world.puts) == 1 and world.puts[0].version > 900
    assert list(world.replicas) == ["a"]
    await _tick(planner, after_s=12.0)
    assert len(world.replicas) == 2


async def test_who_has_stood_by_in_between_counts_versions_above_those_of_the_other() -> None:
    world = World(replicas={WorkerId("a"): R})
    why: list[str | None] = [None]
    planner, _ = _planner(world, stands_by=lambda: why[0])
    await _tick(planner)
    why[0] = "another process leads"
    await _tick(planner)
    world.stored_version = 5000
    why[0] = None
    await _tick(planner)
    before, after = world.puts
    assert before.version < 5000 < after.version
