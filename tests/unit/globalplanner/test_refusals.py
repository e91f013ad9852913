"""What is remembered of refused reports, and how little is logged of them."""

import logging

import pytest

from globalplanner.access.refusals import Refusals
from weir.domain.ids import ClassName, PoolId

A = PoolId("a")
NONE: frozenset[ClassName] = frozenset()


def test_the_newest_reason_stands_until_a_report_is_taken_in() -> None:
    refusals = Refusals()
    refusals.refused(A, "sequence is negative", 10.0)
    refusals.refused(A, "start_up_s is negative", 11.0)
    refusal = refusals.of(A)
    assert refusal is not None
    assert (refusal.why, refusal.at_s) == ("start_up_s is negative", 11.0)
    refusals.taken(A, NONE)
    assert refusals.of(A) is None


def test_a_pool_that_is_refused_each_second_is_logged_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusals = Refusals()
    for second in range(121):
        refusals.refused(A, f"sequence must be at most 1, not {second}", float(second))
        refusals.taken(A, NONE)
    assert len(caplog.records) == 3


def test_strange_classes_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    for number in range(3):
        refusals.taken(A, frozenset({ClassName(f"new-{number}")}))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_what_a_pool_has_sent_steers_no_terminal() -> None:
    refusals = Refusals()
    refusals.refused(A, "capacity_rps[\x1b[2J\n] " + "x" * 1000, 0.0)
    refusal = refusals.of(A)
    assert refusal is not None
    assert refusal.why.startswith("capacity_rps[?[2J?] xxx")
    assert refusal.why.endswith("...")
    assert len(refusal.why) == 300


def test_whoever_is_turned_away_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    for second in range(60):
        refusals.turned_away("planner-a", "planner-a may not report for pool 'b'", float(second))
        refusals.turned_away("", "nobody is known", float(second))
    assert len(caplog.records) == 2
    refusals.turned_away("planner-a", "again", 60.0)
    assert len(caplog.records) == 3
