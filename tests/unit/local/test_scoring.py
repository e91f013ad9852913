"""Attainment, percentiles and goodput of a replay, by hand."""

import pytest

from weir.domain.fleet import RequestClass, Slo, TokenRange
from weir.domain.ids import ClassName
from weir.local.scoring import Outcome, RequestRecord, Score, score

SLO = Slo(ttft_s=0.5, itl_s=0.05)
SHORT = RequestClass(
    name=ClassName("short"), isl_tokens=TokenRange(high=1000), osl_tokens=TokenRange(), slo=SLO
)
LONG = RequestClass(
    name=ClassName("long"), isl_tokens=TokenRange(low=1000), osl_tokens=TokenRange(), slo=SLO
)


def record(
    outcome: Outcome = Outcome.COMPLETED,
    *,
    isl: int = 100,
    osl: int = 11,
    at: float = 0.0,
    first: float | None = 0.4,
    end: float | None = 0.8,
) -> RequestRecord:
    return RequestRecord(
        isl_tokens=isl,
        osl_tokens=osl,
        outcome=outcome,
        arrival_s=at,
        first_token_s=first,
        end_s=end,
    )


def judged(*records: RequestRecord) -> Score:
    return score(records, (SHORT, LONG), lambda isl, _: 0.1 if isl < 5000 else 2.0)


def test_mean_itl_divides_by_the_gaps_between_tokens() -> None:
    # 11 tokens have 10 gaps: (0.8 - 0.4) / 10.
    assert record().itl_s == pytest.approx(0.04)


def test_a_single_token_has_no_itl_and_meets_its_target() -> None:
    assert record(osl=1, end=0.4).itl_s is None
    assert judged(record(osl=1, end=0.4)).total.attainment == 1.0


@pytest.mark.parametrize(
    "missing",
    [
        record(first=0.6, end=0.9),
        record(first=0.4, end=1.0),
        record(Outcome.FAILED),
        record(Outcome.SHED, first=None, end=None),
        record(Outcome.CANCELLED, end=None),
    ],
)
def test_late_slow_failed_shed_and_unfinished_requests_miss(missing: RequestRecord) -> None:
    assert judged(record(), missing).total.attainment == 0.5


def test_what_the_user_stopped_is_cancelled_but_not_judged() -> None:
    result = judged(record(), record(Outcome.STOPPED, end=None))
    assert result.total.attainment == 1.0
    assert result.cancelled == 1
    assert result.total.requests == 2


def test_a_burst_shows_in_the_minute_of_its_arrival() -> None:
    records = (record(at=59.9), record(Outcome.FAILED, at=60.0), record(at=119.0), record(at=200.0))
    spans = judged(*records).spans
    assert list(spans) == [0, 1, 3]
    assert [(s.requests, s.attainment) for s in spans.values()] == [(1, 1.0), (2, 0.5), (1, 1.0)]


def test_infeasible_requests_are_reported_apart_in_all_and_per_class() -> None:
    result = judged(record(), record(isl=6000, first=3.0, end=4.0))
    assert result.total.infeasible == 1
    assert result.total.attainment == 1.0
    assert (result.classes["long"].requests, result.classes["long"].infeasible) == (1, 1)
    assert result.classes["long"].attainment is None


def test_a_request_that_no_pool_takes_is_infeasible() -> None:
    result = score([record(Outcome.FAILED)], (SHORT, LONG), lambda *_: None)
    assert (result.total.infeasible, result.total.attainment) == (1, None)


def test_every_class_is_reported_and_nothing_is_invented_without_requests() -> None:
    result = judged()
    assert sorted(result.classes) == ["long", "short"]
    assert result.total.attainment is None
    assert (result.ttft_s.p50, result.itl_s.p99) == (None, None)


def test_percentiles_are_of_completed_requests() -> None:
    slow_failure = record(Outcome.FAILED, first=9.0, end=9.5)
    result = judged(*(record(first=t / 10, end=t / 10) for t in range(5)), slow_failure)
    assert result.ttft_s.p50 == pytest.approx(0.2)
    assert result.ttft_s.p99 == pytest.approx(0.396)
