import re

import pytest

from poolplanner.core.promql import DynamoMetrics, Series, query, series_of
from poolplanner.core.scrapes import Scrapes
from weir.domain.ids import ClassName, PoolId

NAME = "dynamo_component_router_"
POOL = PoolId("chat")


def _class_of(isl_tokens: float, osl_tokens: float) -> ClassName:
    return ClassName("short" if isl_tokens < 500 else "long")


def _scrapes(speed: float = 1.0) -> Scrapes:
    return Scrapes(pool_id=POOL, metrics=DynamoMetrics.ROUTER, class_of=_class_of, speed=speed)


def _series(name: str, values: dict[float, float], *, on: str = "r:1", **labels: str) -> Series:
    return Series(
        labels={"__name__": NAME + name, "instance": on, **labels}, points=tuple(values.items())
    )


def _started(values: dict[float, float], on: str = "r:1") -> Series:
    return _series("requests_started_total", values, on=on)


def test_the_first_answer_may_be_old_and_is_only_a_beginning() -> None:
    assert _scrapes().samples([_started({0.0: 5, 10.0: 25})]) == []


def test_each_scrape_counts_once_with_the_window_it_covers() -> None:
    scrapes = _scrapes()
    scrapes.samples([_started({0.0: 5})])
    first = scrapes.samples([_started({0.0: 5, 10.0: 25})])
    assert [(s.window_s, s.pools[0].arrivals) for s in first] == [(10.0, 20)]
    assert scrapes.samples([_started({0.0: 5, 10.0: 25})]) == []
    later = scrapes.samples([_started({0.0: 5, 10.0: 25, 20.0: 30, 45.0: 80})])
    assert [(s.window_s, s.pools[0].arrivals) for s in later] == [(10.0, 5), (25.0, 50)]
    assert [s.sequence for s in later] == [20_000, 45_000]


def test_a_counter_that_begins_anew_has_gained_what_it_shows() -> None:
    scrapes = _scrapes()
    scrapes.samples([_started({0.0: 500})])
    (sample,) = scrapes.samples([_started({0.0: 500, 10.0: 7})])
    assert sample.pools[0].arrivals == 7


def test_a_series_that_a_known_target_did_not_have_before_began_at_zero() -> None:
    scrapes = _scrapes()
    other = _series("requests_started_total", {10.0: 4}, model="new")
    scrapes.samples([_started({0.0: 5})])
    (sample,) = scrapes.samples([_started({0.0: 5, 10.0: 6}), other])
    assert sample.pools[0].arrivals == 1 + 4


def test_no_series_no_sample_and_what_is_not_exported_is_unknown() -> None:
    scrapes = _scrapes()
    assert scrapes.samples([]) == []
    assert scrapes.samples([_series("kv_hit_rate", {0.0: 1, 10.0: 2})]) == []
    scrapes.samples([_started({10.0: 0})])
    (sample,) = scrapes.samples([_started({10.0: 0, 20.0: 0})])
    pool = sample.pools[0]
    assert (pool.arrivals, pool.in_flight, pool.queued_tokens) == (0, None, None)
    assert pool.first_token_s.quantile(0.95) is None
    assert sample.classes == ()


def test_each_target_is_a_router_of_its_own() -> None:
    scrapes = _scrapes(speed=10.0)
    scrapes.samples([_started({0.0: 0}), _started({3.0: 0}, "r:2")])
    samples = scrapes.samples([_started({0.0: 0, 10.0: 8}), _started({3.0: 0}, "r:2")])
    assert [(s.router_id, s.window_s) for s in samples] == [("prometheus r:1", 100.0)]


def test_requests_that_have_ended_stand_in_where_started_ones_are_not_counted() -> None:
    scrapes = _scrapes()
    scrapes.samples([_series("requests_total", {0.0: 5})])
    (sample,) = scrapes.samples([_series("requests_total", {0.0: 5, 10.0: 9})])
    assert sample.pools[0].arrivals == 4


def test_percentiles_come_from_buckets_and_lengths_from_sums() -> None:
    scrapes = _scrapes()
    before, after = {0.0: 0.0}, {0.0: 0.0, 10.0: 0.0}
    buckets = {"0.1": 0, "0.2": 90, "0.4": 100, "+Inf": 100}
    answer = [
        _started({**before, 10.0: 100}),
        *(
            _series("time_to_first_token_seconds_bucket", {**after, 10.0: count}, le=le)
            for le, count in buckets.items()
        ),
        *(
            _series("input_sequence_tokens_bucket", {**after, 10.0: count}, le=le)
            for le, count in {"200": 80, "2000": 100, "+Inf": 100}.items()
        ),
        _series("input_sequence_tokens_sum", {**after, 10.0: 30_000}),
        _series("output_sequence_tokens_sum", {**after, 10.0: 5000}),
        _series("output_sequence_tokens_count", {**after, 10.0: 50}),
    ]
    scrapes.samples([_started(before)])
    (sample,) = scrapes.samples(answer)
    pool = sample.pools[0]
    assert (pool.isl_tokens, pool.completed, pool.osl_tokens) == (30_000, 50, 5000)
    p50, p95 = (pool.first_token_s.quantile(q) for q in (0.5, 0.95))
    assert p50 is not None and p95 is not None
    assert 0.1 < p50 <= 0.2 * 1.04 and 0.2 < p95 <= 0.4 * 1.04
    # 80 of about 100 and 20 of about 1100 tokens: together the 30,000 that were counted.
    by_class = {c.name: c for c in sample.classes}
    assert (by_class[ClassName("short")].arrivals, by_class[ClassName("long")].arrivals) == (80, 20)
    assert sum(c.isl_tokens for c in sample.classes) == 30_000
    assert by_class[ClassName("short")].completed == 40


@pytest.mark.parametrize(
    ("more", "cached_tokens"),
    [
        ({"kv_hit_rate_sum": 6.0, "kv_hit_rate_count": 20.0}, 300),
        ({"kv_hit_rate_sum": 0.0, "kv_hit_rate_count": 0.0}, None),
        ({"cached_tokens_sum": 400.0}, 400),
        ({}, None),
    ],
)
def test_what_caches_held_is_told_by_tokens_or_by_mean_hit_rates(
    more: dict[str, float], cached_tokens: int | None
) -> None:
    scrapes = _scrapes()
    scrapes.samples([_started({0.0: 0})])
    gained = {"input_sequence_tokens_sum": 1000.0, **more}
    listed = [_series(name, {0.0: 0.0, 10.0: value}) for name, value in gained.items()]
    (sample,) = scrapes.samples([_started({0.0: 0, 10.0: 20}), *listed])
    assert sample.pools[0].cached_tokens == cached_tokens


def test_the_query_names_what_is_compared_and_how() -> None:
    router = query(DynamoMetrics.ROUTER, namespace="a-b", models=["m"], range_s=59.2)
    assert 'dynamo_namespace="a_b"' in router and router.endswith("[60s]")
    assert "model" not in router
    frontend = query(DynamoMetrics.FRONTEND, namespace='x"}', models=["Qwen/Q.3", "q"], range_s=60)
    assert 'dynamo_namespace="x\\"}"' in frontend
    assert 'model=~"(?i:Qwen/Q\\\\.3|q)"' in frontend
    names = re.search(r'__name__=~"dynamo_frontend_\(([^)]*)\)"', frontend)
    assert names is not None and "requests_started_total" in names[1].split("|")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (None, "no JSON object"),
        ({"status": "error", "errorType": "timeout", "error": "too long"}, "timeout: too long"),
        ({"status": "success", "data": {"result": {}}}, "no list"),
        ({"status": "success", "data": {"result": [{"metric": {}}]}}, "something else"),
    ],
)
def test_an_answer_that_is_none_says_why(answer: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        series_of(answer)


def test_points_that_are_no_numbers_are_left_out() -> None:
    result = [{"metric": {"__name__": "x"}, "values": [[1, "NaN"], [2, "3"], [0.5, "+Inf"]]}]
    (series,) = series_of({"status": "success", "data": {"result": result}})
    assert series.points == ((2.0, 3.0),)
