from dataclasses import replace

import pytest

from poolplanner.core.observation import Arrivals, ClassTotals
from poolplanner.core.observe import Telemetry
from poolplanner.core.windows import Stages
from weir.domain.histogram import LogHistogram
from weir.domain.ids import ClassName, PoolId, RouterId, WorkerId
from weir.domain.telemetry import ClassTraffic, ForwardPassSample, PoolTraffic, TrafficSample

POOL = PoolId("chat")


def _telemetry() -> Telemetry:
    return Telemetry(pool_id=POOL, stale_s=15.0, window_s=10.0, memory_s=300.0)


def _sample(
    sequence: int,
    arrivals: int = 0,
    *,
    router: str = "a",
    in_flight: int = 0,
    queued_tokens: int = 0,
    first_token_s: float | None = None,
    window_s: float = 1.0,
) -> TrafficSample:
    histogram = LogHistogram()
    if first_token_s is not None:
        histogram.add(first_token_s)
    pool = PoolTraffic(
        pool_id=POOL,
        arrivals=arrivals,
        in_flight=in_flight,
        queued_tokens=queued_tokens,
        first_token_s=histogram,
    )
    other = PoolTraffic(pool_id=PoolId("other"), arrivals=1000, in_flight=1000)
    classes = (
        ClassTraffic(
            name=ClassName("small"), arrivals=arrivals, isl_tokens=100 * arrivals, completed=1
        ),
    )
    return TrafficSample(
        router_id=RouterId(router),
        sequence=sequence,
        window_s=window_s,
        classes=classes,
        pools=(other, pool),
    )


def _pass(worker: str, sequence: int, waiting: int = 0, running: int = 0) -> ForwardPassSample:
    return ForwardPassSample(
        pool_id=POOL,
        worker_id=WorkerId(worker),
        sequence=sequence,
        window_s=1.0,
        iterations=1,
        busy_s=0.5,
        prefill_tokens=0,
        decode_tokens=0,
        running=running,
        waiting=waiting,
        waiting_tokens=100 * waiting,
        kv_used_tokens=10,
        kv_total_tokens=1000,
        preemptions=0,
        completed=0,
    )


def test_nothing_heard_is_unknown() -> None:
    seen = _telemetry().observe(0.0)
    assert (seen.age_s, seen.rate_rps, seen.in_flight, seen.queued_tokens) == (None,) * 4
    assert seen.engines is None
    assert _telemetry().arrivals(0.0) is None


def test_the_rate_is_over_the_window_that_samples_cover() -> None:
    telemetry = _telemetry()
    for i, arrivals in enumerate((4, 6, 8)):
        telemetry.on_traffic(_sample(i, arrivals), now_s=float(i))
    assert telemetry.observe(2.0).rate_rps == pytest.approx(6.0)


def test_a_lost_sample_is_a_gap_not_a_zero() -> None:
    telemetry = _telemetry()
    for i in (0, 1, 4, 5):
        telemetry.on_traffic(_sample(i, 6), now_s=float(i))
    assert telemetry.observe(5.0).rate_rps == pytest.approx(6.0)


def test_routers_add_up_and_so_do_their_newest_states() -> None:
    telemetry = _telemetry()
    telemetry.on_traffic(_sample(0, 4, router="a", in_flight=3, queued_tokens=100), 0.0)
    telemetry.on_traffic(_sample(0, 2, router="b", in_flight=1, queued_tokens=10), 0.5)
    telemetry.on_traffic(_sample(1, 4, router="a", in_flight=5, queued_tokens=200), 1.0)
    seen = telemetry.observe(1.0)
    assert seen.rate_rps == pytest.approx(6.0)
    assert (seen.in_flight, seen.queued_tokens) == (6, 210)


def test_doubled_and_late_samples_change_nothing_that_is_newer() -> None:
    telemetry = _telemetry()
    telemetry.on_traffic(_sample(2, 4, in_flight=2), 2.0)
    assert not telemetry.on_traffic(_sample(2, 4, in_flight=2), 2.1)
    assert telemetry.on_traffic(_sample(1, 8, in_flight=9), 2.2)
    seen = telemetry.observe(2.5)
    assert seen.in_flight == 2
    assert seen.rate_rps == pytest.approx(6.0)


def test_a_pool_that_a_sample_does_not_name_had_no_traffic_there() -> None:
    telemetry = _telemetry()
    telemetry.on_traffic(TrafficSample(router_id=RouterId("a"), sequence=0, window_s=1.0), 0.0)
    assert telemetry.observe(0.0).rate_rps == 0.0


def test_stale_telemetry_is_unknown_not_zero() -> None:
    telemetry = _telemetry()
    telemetry.on_traffic(_sample(0, 6, in_flight=3), 0.0)
    assert telemetry.observe(15.0).rate_rps == pytest.approx(6.0)
    seen = telemetry.observe(15.1)
    assert seen.age_s == pytest.approx(15.1)
    assert (seen.rate_rps, seen.in_flight, seen.queued_tokens, seen.ttft_s) == (None,) * 4


def test_a_silent_router_keeps_its_rate_while_others_speak_until_it_is_forgotten() -> None:
    telemetry = _telemetry()
    telemetry.on_traffic(_sample(0, 5, router="gone"), 0.0)
    for i in range(100):
        telemetry.on_traffic(_sample(i, 2, router="a"), float(i))
        rate_rps = telemetry.observe(float(i)).rate_rps
        assert rate_rps == pytest.approx(7.0 if i <= 60 else 2.0)


def test_each_arrival_is_measured_once() -> None:
    telemetry = _telemetry()
    telemetry.on_traffic(_sample(0, 4), 0.0)
    telemetry.on_traffic(_sample(1, 6), 1.0)
    assert telemetry.arrivals(1.0) == Arrivals(rate_rps=5.0, window_s=2.0)
    assert telemetry.arrivals(2.0) is None
    telemetry.on_traffic(_sample(2, 9), 2.0)
    assert telemetry.arrivals(2.0) == Arrivals(rate_rps=9.0, window_s=1.0)


def test_a_silent_router_counts_in_measurements_with_its_last_rate() -> None:
    telemetry = _telemetry()
    telemetry.on_traffic(_sample(0, 5, router="b"), 0.0)
    telemetry.on_traffic(_sample(0, 2, router="a"), 0.0)
    telemetry.observe(0.0)
    telemetry.arrivals(0.0)
    telemetry.on_traffic(_sample(1, 3, router="a"), 1.0)
    telemetry.observe(1.0)
    assert telemetry.arrivals(1.0) == Arrivals(rate_rps=8.0, window_s=1.0)


def test_a_router_that_restarts_counts_again() -> None:
    telemetry = _telemetry()
    for i in range(20):
        telemetry.on_traffic(_sample(i, 5), float(i))
    assert not telemetry.on_traffic(_sample(0, 50), 20.0)
    assert telemetry.on_traffic(_sample(0, 7), 25.0)
    assert telemetry.on_traffic(_sample(1, 7), 26.0)
    assert telemetry.observe(30.0).rate_rps == pytest.approx(7.0)


def test_percentiles_are_over_the_last_seconds() -> None:
    telemetry = _telemetry()
    telemetry.on_traffic(_sample(0, 1, first_token_s=9.0), 0.0)
    assert telemetry.observe(5.0).ttft_s == pytest.approx(9.0, rel=0.05)
    for i in range(1, 20):
        telemetry.on_traffic(_sample(i, 1, first_token_s=0.5), float(i))
    assert telemetry.observe(19.0).ttft_s == pytest.approx(0.5, rel=0.05)


def test_where_targets_are_for_means_latencies_are_means() -> None:
    telemetry = Telemetry(pool_id=POOL, stale_s=5.0, percentile=None)
    for i, first_token_s in enumerate([0.2] * 9 + [2.0]):
        telemetry.on_traffic(_sample(i, 1, first_token_s=first_token_s), float(i))
    assert telemetry.observe(9.0).ttft_s == pytest.approx(0.38, rel=0.03)


def test_class_totals_forget_what_is_beyond_the_memory() -> None:
    telemetry = _telemetry()
    telemetry.on_traffic(_sample(0, 30), 0.0)
    telemetry.on_traffic(_sample(1, 400), 200.0)
    small = ClassName("small")
    assert telemetry.totals[small].arrivals == 430
    telemetry.observe(301.0)
    assert telemetry.totals[small] == ClassTotals(arrivals=400, isl_tokens=40000)


def test_what_the_last_hundred_requests_were_like_is_remembered_while_nobody_asks() -> None:
    telemetry = _telemetry()
    for number in range(10):
        telemetry.on_traffic(_sample(number, 30), float(number))
    small = ClassName("small")
    telemetry.on_traffic(_sample(10, 0), 4000.0)
    assert telemetry.observe(4000.0).rate_rps is not None
    # Less would be below 100: 120 - 30.
    assert telemetry.totals[small].arrivals == 120
    telemetry.on_traffic(_sample(11, 100), 4001.0)
    telemetry.observe(4400.0)
    assert telemetry.totals[small].arrivals == 100


def test_engines_add_up_newest_sample_each() -> None:
    telemetry = _telemetry()
    telemetry.on_forward_pass(_pass("w0", 5, waiting=2, running=3), 0.0)
    assert not telemetry.on_forward_pass(_pass("w0", 4, waiting=9), 0.1)
    telemetry.on_forward_pass(_pass("w1", 1, waiting=1, running=4), 0.2)
    engines = telemetry.observe(1.0).engines
    assert engines is not None
    assert (engines.workers, engines.running, engines.waiting) == (2, 7, 3)
    assert (engines.waiting_tokens, engines.kv_total_tokens) == (300, 2000)


def test_a_stale_engine_is_left_out_and_a_restarted_one_counts_again() -> None:
    telemetry = _telemetry()
    telemetry.on_forward_pass(_pass("w0", 50, running=3), 0.0)
    telemetry.on_forward_pass(_pass("w1", 50, running=4), 0.0)
    assert telemetry.on_forward_pass(_pass("w1", 1, running=1), 10.0)
    engines = telemetry.observe(16.0).engines
    assert engines is not None and (engines.workers, engines.running) == (1, 1)


def _staged(*, own: str = "chat") -> Telemetry:
    pools = frozenset({PoolId("chat"), PoolId("other")})
    stages = Stages(enter=pools, peers=pools)
    return Telemetry(pool_id=PoolId(own), stale_s=15.0, window_s=10.0, stages=stages)


def _offered(sequence: int, *, arrived: int, chat: int, other: int) -> TrafficSample:
    return TrafficSample(
        router_id=RouterId("a"),
        sequence=sequence,
        window_s=1.0,
        classes=(ClassTraffic(name=ClassName("small"), arrivals=arrived),),
        pools=(
            PoolTraffic(pool_id=PoolId("chat"), arrivals=chat),
            PoolTraffic(pool_id=PoolId("other"), arrivals=other),
        ),
    )


def test_offered_load_counts_what_was_not_sent_on_by_the_pools_share_of_what_was() -> None:
    telemetry = _staged()
    # Of 10 requests 8 are sent, 6 of them here: of the 2 that wait or were shed 1.5 are ours.
    telemetry.on_traffic(_offered(0, arrived=10, chat=6, other=2), 0.0)
    assert telemetry.observe(0.0).rate_rps == pytest.approx(7.5)
    assert telemetry.arrivals(0.0) == Arrivals(rate_rps=7.5, window_s=1.0)


def test_a_queued_request_counts_when_it_arrives_and_not_again_when_it_is_sent() -> None:
    telemetry = _staged()
    telemetry.on_traffic(_offered(0, arrived=10, chat=4, other=4), 0.0)
    telemetry.on_traffic(_offered(1, arrived=6, chat=4, other=4), 1.0)
    # 16 requests in 2 s, half of them here.
    assert telemetry.observe(1.0).rate_rps == pytest.approx(4.0)


def test_a_pool_that_serves_nothing_yet_is_offered_its_part_of_what_waits() -> None:
    telemetry = _staged()
    telemetry.on_traffic(_offered(0, arrived=10, chat=0, other=0), 0.0)
    assert telemetry.observe(0.0).rate_rps == pytest.approx(5.0)


def test_a_percentile_of_few_requests_looks_back_further() -> None:
    telemetry = _telemetry()
    for i in range(19):
        telemetry.on_traffic(_sample(i, 1, first_token_s=0.5), 2.0 * i)
    telemetry.on_traffic(_sample(19, 1, first_token_s=9.0), 38.0)
    # One of six in the last 10 s is slow, but one of twenty in the last 38 s.
    assert telemetry.observe(38.0).ttft_s == pytest.approx(0.5, rel=0.05)


def test_after_an_outage_all_is_as_before_with_the_first_samples() -> None:
    telemetry = _telemetry()
    for i in range(100):
        telemetry.on_traffic(_sample(i, 6, in_flight=3), float(i))
        telemetry.on_forward_pass(_pass("w0", i, running=3), float(i))
    for second in range(116, 700):
        seen = telemetry.observe(float(second))
        assert (seen.rate_rps, seen.in_flight, seen.engines) == (None, None, None)
        assert telemetry.arrivals(float(second)) is None or second == 116
    telemetry.on_traffic(_sample(700, 6, in_flight=3), 700.0)
    telemetry.on_forward_pass(_pass("w0", 700, running=3), 700.0)
    seen = telemetry.observe(700.0)
    assert seen.rate_rps == pytest.approx(6.0) and seen.in_flight == 3
    assert seen.engines is not None and seen.engines.running == 3
    assert telemetry.arrivals(700.0) == Arrivals(rate_rps=6.0, window_s=1.0)


def test_the_hit_rate_is_the_traffics_where_engines_do_not_tell() -> None:
    telemetry = _telemetry()
    for i, cached in enumerate((None, 100, 500)):
        pool = PoolTraffic(pool_id=POOL, isl_tokens=1000, cached_tokens=cached)
        sample = TrafficSample(router_id=RouterId("a"), sequence=i, window_s=1.0, pools=(pool,))
        telemetry.on_traffic(sample, float(i))
        if cached is None:
            assert telemetry.observe(float(i)).hit_rate is None
    assert telemetry.observe(2.0).hit_rate == pytest.approx(0.3)
    engine = replace(_pass("w0", 1), cached_tokens=80, prefill_tokens=20)
    telemetry.on_forward_pass(engine, 2.0)
    assert telemetry.observe(2.0).hit_rate == pytest.approx(0.8)


def test_what_is_older_than_all_windows_still_counts_in_the_memory() -> None:
    telemetry = _telemetry()
    for at_s, cached in ((0, 900), (200, 300)):
        traffic = ClassTraffic(name=ClassName("small"), arrivals=100, isl_tokens=1000)
        pool = PoolTraffic(
            pool_id=POOL, arrivals=100, isl_tokens=1000, cached_tokens=cached, accept_length=2.5
        )
        sample = TrafficSample(
            router_id=RouterId("a"), sequence=at_s, window_s=1.0, classes=(traffic,), pools=(pool,)
        )
        telemetry.on_traffic(sample, float(at_s))
    seen = telemetry.observe(200.0)
    assert telemetry.totals[ClassName("small")].isl_tokens == 2000
    assert (seen.hit_rate, seen.accept_length) == (pytest.approx(0.6), 2.5)
    seen = telemetry.observe(301.0)
    assert telemetry.totals[ClassName("small")].isl_tokens == 1000
    assert (seen.hit_rate, seen.accept_length) == (pytest.approx(0.3), 2.5)


def test_a_source_that_tells_no_classes_is_forgotten_by_what_came_to_the_pool() -> None:
    telemetry = _telemetry()
    for at_s, cached in ((0, 900), (200, 300)):
        pool = PoolTraffic(pool_id=POOL, arrivals=100, isl_tokens=1000, cached_tokens=cached)
        sample = TrafficSample(router_id=RouterId("a"), sequence=at_s, window_s=1.0, pools=(pool,))
        telemetry.on_traffic(sample, float(at_s))
    assert telemetry.observe(200.0).hit_rate == pytest.approx(0.6)
    assert telemetry.observe(301.0).hit_rate == pytest.approx(0.3)


@pytest.mark.parametrize(("own", "rate_rps"), [("prefill", 10.0), ("decode", 10.0)])
def test_prompts_that_a_decode_pool_computes_count_once_for_either_stage(
    own: str, rate_rps: float
) -> None:
    # Of 10 requests 6 have a prefill leg first, whose decode legs follow at once; 4 have none.
    enter, decodes = frozenset({PoolId("prefill")}), frozenset({PoolId("decode")})
    stages = Stages(enter=enter, peers=enter if own == "prefill" else decodes)
    telemetry = Telemetry(pool_id=PoolId(own), stale_s=15.0, window_s=10.0, stages=stages)
    sample = TrafficSample(
        router_id=RouterId("a"),
        sequence=0,
        window_s=1.0,
        classes=(ClassTraffic(name=ClassName("small"), arrivals=10),),
        pools=(
            PoolTraffic(pool_id=PoolId("prefill"), arrivals=6),
            PoolTraffic(pool_id=PoolId("decode"), arrivals=10, direct=4),
        ),
    )
    telemetry.on_traffic(sample, 0.0)
    assert telemetry.observe(0.0).rate_rps == pytest.approx(rate_rps)
