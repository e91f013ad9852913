"""A pool's arrivals by class, where lengths are counted apart from arrivals."""

from collections.abc import Mapping

from poolplanner.core.split import Split
from weir.domain.ids import ClassName, PoolId, RouterId
from weir.domain.telemetry import ClassTraffic, PoolTraffic, TrafficSample


def _sample(arrivals: int, classes: Mapping[str, int]) -> TrafficSample:
    return TrafficSample(
        router_id=RouterId("r"),
        sequence=1,
        window_s=1.0,
        classes=tuple(
            ClassTraffic(name=ClassName(name), arrivals=n, isl_tokens=100 * n)
            for name, n in classes.items()
        ),
        pools=(PoolTraffic(pool_id=PoolId("p"), arrivals=arrivals),),
    )


def _arrivals(sample: TrafficSample | None) -> dict[str, int] | None:
    return None if sample is None else {each.name: each.arrivals for each in sample.classes}


def test_what_has_begun_is_split_as_what_was_counted() -> None:
    split = Split()
    assert _arrivals(split.of(_sample(8, {"a": 3, "b": 1}))) == {"a": 6, "b": 2}


def test_the_last_split_stands_in_and_nothing_is_lost_by_rounding() -> None:
    split = Split()
    split.of(_sample(4, {"a": 1, "b": 3}))
    found = [_arrivals(split.of(_sample(1, {}))) or {} for _ in range(8)]
    assert (sum(f["a"] for f in found), sum(f["b"] for f in found)) == (2, 6)


def test_requests_of_no_known_length_are_unknown_and_none_are_none() -> None:
    split = Split()
    assert split.of(_sample(3, {})) is None
    assert _arrivals(split.of(_sample(0, {}))) == {}


def test_lengths_keep_their_mean() -> None:
    split = Split()
    split.of(_sample(2, {"a": 2}))
    found = split.of(_sample(5, {}))
    assert found is not None and found.classes[0].isl_tokens == 500
