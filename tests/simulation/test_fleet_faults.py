"""A whole fleet under all faults at once: nothing that must hold is ever broken.

The seeds are the simulator's own: `weir simulate tests/simulation/faulty.yaml --seeds 0..199
--faults all` looks for others, on other requests.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from globalplanner.core.budget import ledger
from globalplanner.core.budget.account import Account
from globalplanner.core.load.offered import OfferedLoad
from globalplanner.core.operators.proposals import Gate
from globalplanner.core.overview import Overview
from globalplanner.leadership import Leadership, Lease
from globalplanner.service import GlobalPlanner
from poolplanner.core.pace import Pace
from router.core.workers.worker import Worker
from tests.simulation.fleet_world import Run, constant, run, unrecovered
from weir.domain.overrides import Overrides
from weir.simulator.cluster import Cluster
from weir.simulator.faults import FAULTS
from weir.simulator.replica import Replica

SEEDS = 200
DEFECT_SEEDS = 60
OTHERS = ("static:2", "hpa", "keda-queue")


@pytest.fixture(autouse=True)
def _no_log() -> Iterator[None]:
    """Peers fail to answer all the time here; that is said thousands of times."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def check(result: Run) -> None:
    assert result.world.invariants.violations == []
    assert result.world.open == 0
    assert unrecovered(result) == []


@pytest.mark.parametrize("seed", range(SEEDS))
def test_all_invariants_hold_under_all_faults_and_the_fleet_recovers(seed: int) -> None:
    check(run(seed))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("hundred", range(SEEDS // 100, 30))
def test_all_invariants_hold_on_thousands_of_seeds(hundred: int) -> None:
    for seed in range(hundred * 100, hundred * 100 + 100):
        check(run(seed))


@pytest.mark.parametrize("policy", OTHERS)
def test_the_other_policies_hold_what_concerns_them(policy: str) -> None:
    for seed in range(6):
        assert run(seed, policy=policy).world.invariants.violations == []


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_does_something_and_alone_breaks_nothing(name: str) -> None:
    for seed in range(1, 6):
        result = run(seed, names=[name], end_s=200.0)
        check(result)
        if result.happened(name):
            return
    pytest.fail("nothing has happened")


def test_floors_of_a_frozen_pool_that_has_withdrawn_are_set_aside() -> None:
    # One replica of another pool goes for them, though nobody hears of the traffic.
    check(run(161, end_s=210.0))


def test_a_seed_is_a_run_to_the_last_event() -> None:
    first, again, other = run(3), run(3), run(4)
    assert first.events == again.events
    assert first.world.events.happened == again.world.events.happened
    assert first.events != other.events


def test_without_faults_no_call_fails_and_nothing_is_tried_again() -> None:
    result = run(2, names=[])
    check(result)
    assert result.world.ends[1] == 0
    assert not any(result.happened(name) for name in FAULTS)


@pytest.mark.parametrize("rate_rps", [0.7, 2.0, 5.0])
def test_under_constant_demand_the_allocation_stays_as_it_is(rate_rps: float) -> None:
    # From idle to overload; replicas take 1, 2 and 3 GPUs, and engines differ from their profiles.
    result = run(7, names=[], columns=constant(rate_rps, 400.0), end_s=400.0)
    assert [step for step in result.world.journal.steps if step.at_s > 150.0] == []
    assert result.world.invariants.violations == []


def test_under_constant_demand_no_pool_swings_once_faults_are_over() -> None:
    # What they have left behind is given up bit by bit, and never taken back.
    result = run(5, columns=constant(2.0, 600.0), end_s=600.0)
    check(result)
    late = [step for step in result.world.journal.steps if step.at_s > 440.0]
    up = {step.pool_id for step in late if step.after > step.before}
    down = {step.pool_id for step in late if step.after < step.before}
    assert not up & down


# --- deliberate defects: these seeds would find them ---------------------------------------


def charge_only_the_newest_grant(patch: pytest.MonkeyPatch) -> None:
    def issue(self: Any, grant: Any) -> None:
        self.open_grants = [grant]

    patch.setattr(Account, "issue", issue)


def charge_only_what_is_granted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Account, "charged", property(lambda self: self.granted))


def grant_whatever_is_aimed_at(patch: pytest.MonkeyPatch) -> None:
    def grow(self: Any, account: Any, wish: int) -> None:
        self.planned[account.spec.id] = max(self.planned[account.spec.id], wish)

    patch.setattr(ledger._Room, "grow", grow)


def start_under_expired_grants(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Pace, "valid", lambda self, now_s: True)


def stop_without_waiting_for_routers(patch: pytest.MonkeyPatch) -> None:
    def due(self: Any, live: Any, now_s: float) -> Any:
        self._stopping |= {r.id for r in live if r.id in self._draining}
        self._draining.clear()
        return tuple(r.id for r in live if r.id in self._stopping)

    patch.setattr(Pace, "_due", due)


def remove_at_once(patch: pytest.MonkeyPatch) -> None:
    stop = Cluster.stop

    def cut(self: Cluster, replica: Replica, drain_s: float) -> None:
        stop(self, replica, drain_s)
        self.remove(replica)

    patch.setattr(Cluster, "stop", cut)


def send_to_draining_workers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Worker, "usable", lambda self, now_s: True)


def take_silence_for_no_traffic(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OfferedLoad, "known", lambda self, now_s: any(self._trends.values()))


def send_before_it_is_written(patch: pytest.MonkeyPatch) -> None:
    issue = Account.issue

    def at_once(self: Any, grant: Any) -> None:
        issue(self, grant)
        self.sendable = grant

    patch.setattr(Account, "issue", at_once)


def ignore_the_record_at_takeover(patch: pytest.MonkeyPatch) -> None:
    prepare = GlobalPlanner.prepare

    def forgetful(self: Any, term: int, record: Any, *, owner: str) -> Any:
        known = dataclasses.replace(record, pools=()) if record is not None else None
        return prepare(self, term, known, owner=owner)

    patch.setattr(GlobalPlanner, "prepare", forgetful)


def retry_a_pending_write_blindly(patch: pytest.MonkeyPatch) -> None:
    async def go_on(self: Any, planner: Any, pending: Any) -> None:
        _, self._revision = await self._store.read()
        self._pending = None

    patch.setattr(Leadership, "_find_out", go_on)


def forget_what_has_been_withdrawn(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Account, "wanted", property(lambda self: self.target))


def charge_a_removed_pool_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ledger, "retire", lambda account: True)


def size_what_is_frozen(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Overview, "_why_held", lambda self, account, silent_s: "")


def let_everything_pass_unapproved(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Gate, "through", lambda self, before, decision, snapshot: decision.replicas)


def drop_overrides_at_takeover(patch: pytest.MonkeyPatch) -> None:
    prepare = GlobalPlanner.prepare

    def forgetful(self: Any, term: int, record: Any, *, owner: str) -> Any:
        known = dataclasses.replace(record, overrides=Overrides()) if record is not None else None
        return prepare(self, term, known, owner=owner)

    patch.setattr(GlobalPlanner, "prepare", forgetful)


def wait_long_before_taking_over(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lease, "look_s", property(lambda self: 3.0 * self.lease_s))


@pytest.mark.parametrize(
    ("defect", "rule"),
    [
        (charge_only_the_newest_grant, "B1"),
        (charge_only_what_is_granted, "B1"),
        (grant_whatever_is_aimed_at, "B1"),
        (start_under_expired_grants, "B1"),
        (stop_without_waiting_for_routers, "B6"),
        (remove_at_once, "B6"),
        (send_to_draining_workers, "B6"),
        (take_silence_for_no_traffic, "B7"),
        (send_before_it_is_written, "B1"),
        (ignore_the_record_at_takeover, "B1"),
        (retry_a_pending_write_blindly, "B1"),
        (forget_what_has_been_withdrawn, "B1"),
        (charge_a_removed_pool_nothing, "B1"),
        (drop_overrides_at_takeover, "B1"),
        (size_what_is_frozen, "frozen"),
        (let_everything_pass_unapproved, "approval"),
        (wait_long_before_taking_over, "failover"),
    ],
)
def test_a_deliberate_defect_is_found(
    defect: Callable[[pytest.MonkeyPatch], None],
    rule: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    defect(monkeypatch)
    for seed in range(DEFECT_SEEDS):
        found = run(seed).world.invariants.violations
        if any(text.startswith(rule) for text in found):
            return
    pytest.fail(f"no seed of {DEFECT_SEEDS} has found it")
