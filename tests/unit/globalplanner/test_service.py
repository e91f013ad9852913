"""The GlobalPlanner without sockets: model time stands still unless a test moves it."""

import dataclasses
from typing import Any

import pytest

from globalplanner.core.arbiter.snapshot import Rules
from globalplanner.metrics import Metrics
from globalplanner.service import GlobalPlanner, Patience
from tests.unit.globalplanner.fleets import CHAT, fleet, pool, report
from weir.domain.errors import InfeasibleFloorsError, UnavailableError, UnknownPoolError
from weir.domain.fleet import Role, Stage
from weir.domain.ids import PoolId, RouterId
from weir.domain.planning import Grant
from weir.domain.record import LedgerRecord
from weir.domain.telemetry import ClassTraffic, TrafficSample
from weir.runtime.clock import Clock

PATIENCE = Patience(interval_s=2.0, stale_s=15.0, grant_valid_s=15.0, silent_s=15.0)


class FakeClock(Clock):
    """Wall and model time are the same and move by hand."""

    time_s = 100.0

    def now_s(self) -> float:
        return self.time_s

    def wall_s(self) -> float:  # type: ignore[override]
        return self.time_s


class Control:
    """A GlobalPlanner, its clock, and the pools and the router that talk to it."""

    def __init__(self, *specs: Any, gpus: int = 8, term: int = 1) -> None:
        self.clock = FakeClock()
        FakeClock.time_s = 100.0
        self.sure = True
        self.metrics = Metrics(spec.id for spec in specs)
        self.planner = GlobalPlanner(
            fleet(specs, gpus=gpus), Rules(), PATIENCE, self.clock, self.metrics,
            may_grow=lambda: self.sure,
        )  # fmt: skip
        if term:
            self.lead(term)
        self.sequence = 0
        self.acted: dict[str, Grant] = {}

    def lead(self, term: int, record: LedgerRecord | None = None) -> None:
        self.planner.lead(self.planner.prepare(term, record, owner="me"))

    def write(self) -> None:
        planner = self.planner
        if planner.term:
            planner.written(planner.record(owner="me", serial=1), planner.epoch)

    def report(self, pool_id: str, **changes: Any) -> Grant | None:
        self.sequence += 1
        acted = self.acted.get(pool_id)
        named = (acted.term, acted.epoch, acted.replicas) if acted else (0, 0, 0)
        message = report(pool_id, self.sequence, acted=named, **changes)
        self.planner.report(message)
        self.write()
        grant = self.planner.grant_of(PoolId(pool_id))
        if grant is not None:
            self.acted[pool_id] = grant
        return grant

    def pools_run_what_they_are_granted(self, **capacity_rps: float) -> None:
        for pool_id in self.planner.fleet.pools:  # all of them, twice: hear, then act
            for _ in range(2):
                acted = self.acted.get(pool_id.id)
                capacity = capacity_rps.get(pool_id.id, 5.0)
                self.report(
                    pool_id.id, ready=acted.replicas if acted else 0, capacity_rps={CHAT: capacity}
                )

    def run(self, seconds: int, *, rps: int | None, **capacity_rps: float) -> None:
        """One second after the other; without `rps` no router is heard."""
        for _ in range(seconds):
            FakeClock.time_s += 1.0
            if rps is not None:
                traffic = ClassTraffic(name=CHAT, arrivals=rps, isl_tokens=rps * 1000)
                second = int(FakeClock.time_s)
                self.planner.on_traffic(
                    TrafficSample(
                        router_id=RouterId("r"), sequence=second, window_s=1.0, classes=(traffic,)
                    )
                )
            self.pools_run_what_they_are_granted(**capacity_rps)
            if int(FakeClock.time_s) % 2 == 0:
                self.planner.decide()

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"weir_globalplanner_{name}", labels)

    @property
    def granted(self) -> dict[str, int]:
        return {pool.pool_id: pool.granted for pool in self.planner.standing().pools}


@pytest.fixture
def pair() -> Control:
    return Control(pool("prefill", Role.PREFILL), pool("decode", Role.DECODE))


def test_pools_get_their_minimum_before_anything_is_known_of_traffic(pair: Control) -> None:
    pair.run(2, rps=None)
    assert pair.granted == {"prefill": 1, "decode": 1}
    assert pair.planner.standing().holding == "no traffic telemetry yet"
    assert pair.planner.plan is None


def test_traffic_makes_the_short_stage_grow_and_the_plan_appear(pair: Control) -> None:
    pair.run(30, rps=8, decode=20.0)
    assert pair.granted == {"prefill": 2, "decode": 1}
    standing = pair.planner.standing()
    assert standing.holding == ""
    change = standing.changes[-1]
    assert (change.pool_id, change.before, change.after) == ("prefill", 1, 2)
    assert change.reason.startswith("1 -> 2: offered 6.6 rps needs 1.3 replicas at 80 %")
    assert pair.planner.plan is not None
    assert pair.planner.plan.shares[CHAT][Stage.DECODE] == {"decode": 1.0}
    assert pair.metric("decisions_total", pool="prefill", direction="up") == 1.0
    assert pair.metric("wanted_replicas", pool="prefill") == 2.0
    assert pair.metric("charged_gpus", pool="prefill") == 2.0
    assert pair.metric("budget_gpus") == 8.0


def test_silence_of_the_routers_changes_nothing(pair: Control) -> None:
    pair.run(30, rps=8, decode=20.0)
    pair.run(200, rps=None, decode=20.0)
    assert pair.granted == {"prefill": 2, "decode": 1}
    holding = pair.planner.standing().holding
    assert holding in {
        "no traffic telemetry yet",
        "traffic telemetry of a router is missing, the newest is 200 s old",
    }
    assert pair.metric("holding") == 1.0


def test_quiet_traffic_takes_replicas_back_after_the_dwell(pair: Control) -> None:
    pair.run(30, rps=8, decode=20.0)
    pair.run(50, rps=0, decode=20.0)
    assert pair.granted == {"prefill": 2, "decode": 1}
    pair.run(40, rps=0, decode=20.0)
    assert pair.granted == {"prefill": 1, "decode": 1}


def test_while_the_term_cannot_be_confirmed_nobody_grows(pair: Control) -> None:
    pair.run(10, rps=1)
    pair.sure = False
    pair.run(30, rps=30)
    assert pair.granted == {"prefill": 1, "decode": 1}
    assert "NATS does not answer" in pair.planner.standing().holding
    pair.sure = True
    pair.run(10, rps=18)
    assert pair.granted == {"prefill": 4, "decode": 4}


def test_a_silent_pool_keeps_what_it_has(pair: Control) -> None:
    pair.run(30, rps=8, decode=20.0)
    del pair.acted["prefill"]
    for _ in range(100):
        FakeClock.time_s += 1.0
        second = int(FakeClock.time_s)
        pair.planner.on_traffic(
            TrafficSample(
                router_id=RouterId("r"), sequence=second, window_s=1.0,
                classes=(ClassTraffic(name=CHAT, arrivals=0),),
            )
        )  # fmt: skip
        pair.report("decode", ready=1, capacity_rps={CHAT: 20.0})
        pair.planner.decide()
    assert pair.granted == {"prefill": 2, "decode": 1}
    reasons = {pool.pool_id: pool.reason for pool in pair.planner.standing().pools}
    assert reasons["prefill"].endswith("held, silent for 100 s")


def test_after_a_restart_nothing_is_decided_before_all_pools_have_reported(pair: Control) -> None:
    pair.run(30, rps=8, decode=20.0)
    pair.lead(2)
    pair.report("decode", ready=1, capacity_rps={CHAT: 20.0})
    pair.planner.decide()
    assert pair.planner.standing().holding == "waits for a first report of prefill"
    assert pair.granted == {"prefill": 0, "decode": 1}
    changes = pair.planner.standing().changes
    pair.run(10, rps=8, decode=20.0)
    assert pair.granted == {"prefill": 2, "decode": 1}
    assert pair.planner.standing().changes == changes, "all is as it was before"


def test_a_pool_that_never_comes_does_not_stop_the_others_for_ever() -> None:
    control = Control(pool("a", model="ma"), pool("b", model="mb", max_replicas=2), gpus=6)
    for _ in range(40):
        FakeClock.time_s += 1.0
        second = int(FakeClock.time_s)
        control.planner.on_traffic(
            TrafficSample(
                router_id=RouterId("r"), sequence=second, window_s=1.0,
                classes=(ClassTraffic(name=CHAT, arrivals=40),),
            )
        )  # fmt: skip
        acted = control.acted.get("a")
        control.report("a", ready=acted.replicas if acted else 0)
        control.planner.decide()
    assert control.granted == {"a": 4, "b": 0}
    assert control.planner.violations == 0


def test_a_report_is_refused_while_this_process_does_not_lead() -> None:
    control = Control(pool("a"), term=0)
    with pytest.raises(UnavailableError, match="does not lead: has no term yet"):
        control.report("a")
    assert control.planner.not_ready() == "does not lead: has no term yet"
    assert control.metric("refused_reports_total", reason="not_leading") == 1.0
    assert control.metric("leading") == 0.0


def test_a_pool_that_has_seen_a_later_leader_ends_this_term(pair: Control) -> None:
    with pytest.raises(UnavailableError, match="acts on a grant of term 7"):
        pair.planner.report(report("prefill", 1, acted=(7, 1, 1)))
    assert pair.planner.term == 0
    assert pair.planner.seen_term == 7
    assert pair.metric("leading") == 0.0


def test_peak_and_violations_outlive_a_term(pair: Control) -> None:
    pair.run(2, rps=None)
    pair.report("prefill", ready=9)
    assert pair.planner.violations == 1
    pair.planner.yield_to("test")
    standing = pair.planner.standing()
    assert (standing.term, standing.peak_charged_gpus, standing.violations) == (0, 10, 1)
    assert standing.holding == "does not lead: test"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"capacity_rps": {CHAT: 1e12}}, "capacity_rps"),
        ({"backlog_replica_s": 1e12}, "backlog_replica_s"),
        ({"start_up_s": 1e12}, "start_up_s"),
        ({"sequence": 10**18}, "sequence"),
    ],
)
def test_numbers_out_of_all_proportion_are_refused(
    pair: Control, changes: dict[str, Any], message: str
) -> None:
    bad = dataclasses.replace(report("prefill", 1), **changes)
    with pytest.raises(ValueError, match=message):
        pair.planner.report(bad)
    assert pair.metric("refused_reports_total", reason="invalid") == 1.0


def test_a_pool_of_another_fleet_is_refused_alone(pair: Control) -> None:
    with pytest.raises(UnknownPoolError):
        pair.report("other")
    assert pair.metric("refused_reports_total", reason="unknown_pool") == 1.0
    pair.run(2, rps=None)
    assert pair.granted == {"prefill": 1, "decode": 1}


def test_floors_that_do_not_fit_are_refused_at_the_start() -> None:
    with pytest.raises(InfeasibleFloorsError):
        Control(pool("a", min_replicas=4), gpus=3)
