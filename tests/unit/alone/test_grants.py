"""Reports to the planner of the budget in the same process."""

import pytest

from globalplanner.metrics import Metrics
from globalplanner.parts import patience_of, rules_of
from globalplanner.service import GlobalPlanner
from poolplanner.ports import Answer, RefusedError, StaleReportError
from tests.unit.globalplanner.fleets import fleet, pool, report
from weir.alone.grants import LocalGrants
from weir.alone.records import MemoryRecords
from weir.domain.errors import StaleRevisionError, UnavailableError
from weir.domain.ids import PoolId
from weir.fleet import PlannerSettings
from weir.runtime.clock import Clock

A = PoolId("a")


def _planner() -> GlobalPlanner:
    settings = PlannerSettings()
    return GlobalPlanner(
        fleet([pool("a", max_replicas=4)], gpus=4),
        rules_of(settings),
        patience_of(settings, speed=1.0),
        Clock(),
        Metrics([A]),
        may_grow=lambda: True,
    )


def _led(planner: GlobalPlanner) -> GlobalPlanner:
    planner.lead(planner.prepare(7, None, owner="o"))
    return planner


def _write(planner: GlobalPlanner) -> None:
    planner.written(planner.record(owner="o", serial=1), planner.epoch)


async def test_a_report_is_answered_with_its_grant_and_with_what_is_newest() -> None:
    planner = _led(_planner())
    grants = LocalGrants(planner)
    answer = await grants.report(report("a", sequence=5, ready=1))
    assert isinstance(answer, Answer)
    with pytest.raises(StaleReportError, match="report 4 is not newer than 5"):
        await grants.report(report("a", sequence=4, ready=1))


async def test_who_does_not_lead_grants_nothing_and_what_cannot_be_true_is_refused() -> None:
    planner = _planner()
    grants = LocalGrants(planner)
    with pytest.raises(UnavailableError, match="does not lead"):
        await grants.report(report("a", sequence=1, ready=1))
    _led(planner)
    with pytest.raises(RefusedError, match="at most 1e"):
        await grants.report(report("a", sequence=1, ready=2_000_000))


async def test_a_pool_is_woken_once_for_a_grant_that_no_report_was_answered_with() -> None:
    planner = _led(_planner())
    grants = LocalGrants(planner)
    pushed: list[int] = []
    source = grants.source_of(A, lambda: pushed.append(1))
    await source.report(report("a", sequence=1, ready=1))
    _write(planner)
    _write(planner)
    assert len(pushed) == 1
    answer = await source.report(report("a", sequence=2, ready=1))
    assert answer.grant is not None and answer.grant.replicas == 1
    _write(planner)
    assert len(pushed) == 1


async def test_records_in_memory_are_written_by_compare_and_set() -> None:
    records, planner = MemoryRecords(), _led(_planner())
    record = planner.record(owner="o", serial=1)
    assert await records.read() == (None, 0)
    assert await records.write(record, 0) == 1
    assert await records.read() == (record, 1)
    with pytest.raises(StaleRevisionError):
        await records.write(record, 0)
