"""What routers tell about the offered load, and what is unknown."""

import pytest

from globalplanner.core.load.offered import OfferedLoad
from tests.unit.globalplanner.fleets import CHAT, LONG
from weir.domain.ids import ClassName, RouterId
from weir.domain.planning import ClassLoad
from weir.domain.telemetry import ClassTraffic, TrafficSample


def sample(
    sequence: int,
    arrivals: int,
    *,
    router: str = "r1",
    name: ClassName = CHAT,
    isl_tokens: int = 0,
    completed: int = 0,
    osl_tokens: int = 0,
    queued: int = 0,
    decoding_ms: int | None = None,
    completed_decoding_ms: int | None = None,
    window_s: float = 1.0,
) -> TrafficSample:
    traffic = ClassTraffic(
        name=name,
        arrivals=arrivals,
        isl_tokens=isl_tokens,
        completed=completed,
        osl_tokens=osl_tokens,
        queued=queued,
        decoding_ms=decoding_ms,
        completed_decoding_ms=completed_decoding_ms,
    )
    return TrafficSample(
        router_id=RouterId(router), sequence=sequence, window_s=window_s, classes=(traffic,)
    )


def offered() -> OfferedLoad:
    return OfferedLoad([CHAT, LONG], stale_s=15.0)


def feed(
    load: OfferedLoad, arrivals: int, *, until_s: int, since_s: int = 0, **more: object
) -> None:
    """One sample a second, folded every two."""
    for second in range(since_s + 1, until_s + 1):
        load.add(sample(second, arrivals, **more), float(second))  # type: ignore[arg-type]
        if second % 2 == 0:
            load.fold(float(second))


def chat_load(load: OfferedLoad, now_s: float, *, ahead_s: float = 10.0) -> ClassLoad:
    loads = load.loads(now_s, ahead_s=ahead_s)
    assert loads is not None
    return loads[CHAT]


def test_before_any_sample_the_load_is_unknown() -> None:
    load = offered()
    load.fold(0.0)
    assert load.loads(0.0, ahead_s=10.0) is None
    assert load.age_s(0.0) is None


def test_a_steady_rate_is_forecast_as_it_is() -> None:
    load = offered()
    feed(load, 6, until_s=60)
    seen = chat_load(load, 60.0)
    assert seen.rate_rps == pytest.approx(6.0, rel=0.05)
    assert seen.rate_rps <= seen.rate_high_rps <= 1.1 * seen.rate_rps


def test_routers_add_up() -> None:
    load = offered()
    for second in range(1, 61):
        load.add(sample(second, 6, router="r1"), second)
        load.add(sample(second, 2, router="r2"), second + 0.5)
        if second % 2 == 0:
            load.fold(second + 0.9)
    assert chat_load(load, 61.0).rate_rps == pytest.approx(8.0, rel=0.05)


def test_doubled_and_late_samples_do_not_count() -> None:
    load = offered()
    assert load.add(sample(5, 6), 0.0)
    assert not load.add(sample(5, 6), 0.1)
    assert not load.add(sample(4, 6), 0.2)
    assert load.add(sample(6, 6), 1.0)


def test_a_router_that_begins_again_is_heard_after_a_while() -> None:
    load = offered()
    assert load.add(sample(500, 6), 0.0)
    assert not load.add(sample(1, 6), 4.0)
    assert load.add(sample(2, 6), 5.5)


def test_a_lost_sample_is_a_gap_not_a_zero() -> None:
    load = offered()
    for second in range(1, 61):
        if second % 3:
            load.add(sample(second, 6), second)
        if second % 2 == 0:
            load.fold(second)
    assert chat_load(load, 60.0).rate_rps == pytest.approx(6.0, rel=0.05)


def test_a_silent_router_keeps_its_rate_until_all_is_unknown() -> None:
    load = offered()
    feed(load, 6, until_s=30)
    for second in range(31, 60):
        load.add(sample(second, 6, router="r2"), second)
        load.fold(second)
        if second == 45:
            assert chat_load(load, 45.0).rate_rps == pytest.approx(12.0, rel=0.1)
    assert load.loads(59.0, ahead_s=1.0) is None


def test_a_router_that_is_gone_is_forgotten() -> None:
    load = offered()
    feed(load, 6, until_s=30)
    for second in range(31, 140):
        load.add(sample(second, 2, router="r2"), second)
        load.fold(second)
    assert chat_load(load, 139.0).rate_rps == pytest.approx(2.0, rel=0.1)


def test_old_telemetry_is_unknown_not_zero() -> None:
    load = offered()
    feed(load, 6, until_s=30)
    assert load.loads(45.0, ahead_s=1.0) is not None
    assert load.loads(46.0, ahead_s=1.0) is None
    assert load.age_s(46.0) == pytest.approx(16.0)


def test_a_measurement_covers_at_least_a_window() -> None:
    load = offered()
    load.add(sample(1, 6), 1.0)
    load.fold(1.0)
    assert load.loads(1.0, ahead_s=1.0) is None
    load.add(sample(2, 6), 2.0)
    load.fold(2.0)
    assert load.loads(2.0, ahead_s=1.0) is not None


def test_an_idle_router_says_zero() -> None:
    load = offered()
    feed(load, 0, until_s=30)
    assert chat_load(load, 30.0).rate_rps == pytest.approx(0.0, abs=0.05)


def test_a_burst_is_not_taken_for_a_rate() -> None:
    load = offered()
    feed(load, 0, until_s=60)
    for second, arrivals in ((61, 130), (62, 70), (63, 0), (64, 1), (65, 0), (66, 0)):
        load.add(sample(second, arrivals), second)
        if second % 2 == 0:
            load.fold(second)
            assert chat_load(load, second).rate_high_rps < 5.0


def test_a_step_is_believed_within_three_decisions() -> None:
    load = offered()
    feed(load, 0, until_s=60)
    feed(load, 8, since_s=60, until_s=68)
    seen = chat_load(load, 68.0)
    assert 7.0 < seen.rate_rps <= seen.rate_high_rps < 9.7


def test_an_end_is_believed_within_a_quarter_of_a_minute() -> None:
    load = offered()
    feed(load, 8, until_s=60)
    feed(load, 0, since_s=60, until_s=76)
    assert chat_load(load, 76.0).rate_high_rps < 1.0


def test_lengths_are_means_that_follow() -> None:
    load = offered()
    load.add(sample(1, 4, isl_tokens=4000, completed=2, osl_tokens=300, window_s=2.0), 2.0)
    load.fold(2.0)
    seen = chat_load(load, 2.0)
    assert (seen.isl_tokens, seen.osl_tokens) == (1000.0, 150.0)
    load.add(sample(2, 4, isl_tokens=400, completed=2, osl_tokens=300, window_s=2.0), 2000.0)
    load.fold(2000.0)
    assert chat_load(load, 2000.0).isl_tokens == pytest.approx(100.0, rel=0.05)


def test_decode_replicas_are_for_what_decodes_at_all_routers() -> None:
    """50 and 30 requests decode, 4 a second begin and end: 20 s each. Then twice as many do."""
    load = offered()
    for second in range(1, 301):
        for router, decoding in (("r1", 50), ("r2", 30)):
            spent_ms = 1000 * decoding * (1 if second < 300 else 2)
            load.add(
                sample(
                    *(second, 2),
                    router=router,
                    completed=2,
                    decoding_ms=spent_ms,
                    completed_decoding_ms=1000 * decoding,
                ),
                float(second),
            )
        load.fold(float(second))
        if second == 299:
            assert chat_load(load, 299.0, ahead_s=0.0).decoding_rps == pytest.approx(4.0, rel=0.05)
    # The last window is half that of before and half that of now.
    now = chat_load(load, 300.0, ahead_s=0.0)
    assert now.decoding_rps == pytest.approx((80 + 160) / 2 / 20.0, rel=0.05)


def test_a_class_of_another_fleet_is_left_out() -> None:
    load = offered()
    load.add(sample(1, 4, name=ClassName("other")), 1.0)
    load.fold(2.0)
    loads = load.loads(2.0, ahead_s=1.0) or {}
    assert ClassName("other") not in loads


def test_after_a_minute_without_a_request_none_are_forecast() -> None:
    load = offered()
    feed(load, 6, until_s=60)
    feed(load, 1, since_s=60, until_s=64)
    feed(load, 0, since_s=64, until_s=124)
    assert chat_load(load, 124.0).rate_high_rps == 0.0
    feed(load, 6, since_s=124, until_s=140)
    assert chat_load(load, 140.0).rate_rps == pytest.approx(6.0, rel=0.2)


def test_a_class_of_which_a_request_waits_is_forecast_until_it_is_served() -> None:
    load = offered()
    feed(load, 0, until_s=60)
    feed(load, 1, since_s=60, until_s=62, queued=2)
    feed(load, 0, since_s=62, until_s=400, queued=2)
    assert chat_load(load, 400.0).rate_rps > 0.0
    feed(load, 0, since_s=400, until_s=460)
    assert chat_load(load, 460.0).rate_high_rps == 0.0


def test_what_waits_already_when_a_router_is_first_heard_is_demand_but_no_rate() -> None:
    load = offered()
    feed(load, 0, until_s=100, queued=500)
    assert 0.0 < chat_load(load, 100.0).rate_rps < 1.0
