"""Whatever Prometheus answers: counters that reset, buckets to percentiles, rubbish."""

from hypothesis import given
from hypothesis import strategies as st

from poolplanner.core.buckets import durations, per_bucket
from poolplanner.core.promql import DynamoMetrics, Series, series_of
from poolplanner.core.scrapes import Scrapes
from weir.domain.ids import ClassName, PoolId

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["status", "data", "result", "metric", "values", "__name__"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_rubbish_is_refused_and_nothing_else_happens(answer: object) -> None:
    wrapped = {"status": "success", "data": {"result": answer}}
    for each in (answer, wrapped, {"status": "success", "data": {"result": [answer]}}):
        try:
            series = series_of(each)
        except ValueError:
            continue
        _scrapes().samples(series)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    "requests_started_total",
                    "inflight_requests",
                    "time_to_first_token_seconds_bucket",
                    "input_sequence_tokens_bucket",
                    "input_sequence_tokens_sum",
                    "output_sequence_tokens_count",
                ]
            ),
            st.sampled_from(["0.1", "1e300", "+Inf", "-5", "x", "NaN"]),
            st.lists(st.tuples(st.floats(-5, 50), st.floats()), max_size=4),
        ),
        max_size=8,
    )
)
def test_no_numbers_do_harm(listed: list[tuple[str, str, list[tuple[float, float]]]]) -> None:
    metrics = [{"__name__": f"dynamo_component_router_{name}", "le": le} for name, le, _ in listed]
    result = [
        {"metric": metric, "values": [[at_s, str(value)] for at_s, value in points]}
        for metric, (_, _, points) in zip(metrics, listed, strict=True)
    ]
    scrapes = _scrapes()
    scrapes.samples([])
    for sample in scrapes.samples(series_of({"status": "success", "data": {"result": result}})):
        assert sample.pools[0].arrivals >= 0
        assert all(traffic.isl_tokens >= 0 for traffic in sample.classes)


@given(
    gains=st.lists(st.tuples(st.integers(0, 50), st.booleans()), min_size=2, max_size=30),
    looks=st.lists(st.integers(1, 5), max_size=30),
)
def test_each_request_is_counted_once_however_often_one_looks_and_counters_reset(
    gains: list[tuple[int, bool]], looks: list[int]
) -> None:
    points, value, expected = [], 0, 0
    for i, (gain, reset) in enumerate(gains):
        # A process that begins anew is only seen as one when it shows less than before.
        value = gain if reset and gain < value else value + gain
        expected += gain if i else 0
        points.append((10.0 * i, float(value)))
    scrapes, seen, shown = _scrapes(), 0, 1
    scrapes.samples([_counter(points[:1])])
    for step in [*looks, len(points)]:
        shown = min(len(points), shown + step)
        samples = scrapes.samples([_counter(points[max(0, shown - step - 2) : shown])])
        seen += sum(sample.pools[0].arrivals for sample in samples)
    assert seen == expected


@given(
    values=st.lists(st.floats(0.002, 9.9), min_size=1, max_size=200),
    edges=st.lists(st.floats(0.001, 10.0), min_size=1, max_size=12, unique=True).map(sorted),
    q=st.sampled_from([0.5, 0.9, 0.95, 0.99]),
)
def test_a_percentile_is_off_by_no_more_than_its_bucket(
    values: list[float], edges: list[float], q: float
) -> None:
    edges = [*edges, 10.0] if edges[-1] < 10.0 else edges
    cumulative = {edge: float(sum(value <= edge for value in values)) for edge in edges}
    estimate = durations(per_bucket(cumulative)).quantile(q)
    rank = min(len(values) - 1, max(0, int(-(-q * len(values) // 1)) - 1))
    exact = sorted(values)[rank]
    above = next(edge for edge in edges if edge >= exact)
    below = max((edge for edge in edges if edge < exact), default=0.0)
    assert estimate is not None
    assert below * 0.999 <= estimate <= above * 1.0401 + 1e-4


def _scrapes() -> Scrapes:
    return Scrapes(
        pool_id=PoolId("chat"),
        metrics=DynamoMetrics.ROUTER,
        class_of=lambda isl, osl: ClassName("any"),
    )


def _counter(points: list[tuple[float, float]]) -> Series:
    labels = {"__name__": "dynamo_component_router_requests_started_total", "instance": "r:1"}
    return Series(labels=labels, points=tuple(points))
