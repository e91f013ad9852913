"""Counters across restarts, latencies over a window."""

import pytest

from weir.domain.histogram import LogHistogram
from weir.domain.ids import ClassName, PoolId, RouterId
from weir.domain.telemetry import ClassTraffic, PoolTraffic, TrafficSample
from weir.local.probe import counters_by_label
from weir.local.tally import ResettingCounters, TrafficWindow

CHAT = ClassName("chat")


def sample(sequence: int, *, arrivals: int = 2, ttft_s: float = 0.5, queued: int = 0):
    histogram = LogHistogram()
    histogram.add(ttft_s)
    return TrafficSample(
        router_id=RouterId("r"),
        sequence=sequence,
        window_s=1.0,
        classes=(ClassTraffic(name=CHAT, arrivals=arrivals, ttft_s=histogram, queued=queued),),
        pools=(PoolTraffic(pool_id=PoolId("decode"), in_flight=sequence, queued_tokens=100),),
    )


def test_a_counter_that_fell_has_started_from_zero() -> None:
    counters = ResettingCounters()
    for value in (3.0, 10.0, 2.0, 4.0):
        counters.read({"decode": value})
    # 10 before the restart, 4 after it.
    assert counters.total("decode") == 14.0


def test_a_counter_never_seen_is_unknown_not_zero() -> None:
    assert ResettingCounters().total("decode") is None


def test_the_window_forgets_old_samples() -> None:
    window = TrafficWindow(window_s=10.0)
    window.add(sample(0, arrivals=8, ttft_s=5.0), now_s=0.0)
    window.add(sample(1, arrivals=2, ttft_s=0.5, queued=3), now_s=12.0)
    seen = window.class_view(CHAT, now_s=12.0)
    assert seen is not None
    assert (seen.rate_rps, seen.queued) == (2.0, 3)
    assert seen.ttft_p95_s == pytest.approx(0.5, rel=0.04)
    assert seen.itl_p95_s is None


def test_nothing_is_known_without_samples() -> None:
    window = TrafficWindow(window_s=10.0)
    window.add(sample(0), now_s=0.0)
    assert window.class_view(CHAT, now_s=20.0) is None
    assert window.pool_traffic(PoolId("decode"), now_s=20.0) is None


def test_the_newest_state_of_a_pool_counts() -> None:
    window = TrafficWindow()
    for sequence in (4, 7):
        window.add(sample(sequence), now_s=float(sequence))
    newest = window.pool_traffic(PoolId("decode"), now_s=7.0)
    assert newest is not None
    assert (newest.in_flight, newest.queued_tokens) == (7, 100)


def test_counters_are_summed_over_their_other_labels() -> None:
    text = (
        b"# HELP weir_router_pool_requests_total Legs.\n"
        b'weir_router_pool_requests_total{pool="decode",outcome="completed"} 5.0\n'
        b'weir_router_pool_requests_total{outcome="failed",pool="decode"} 1.0\n'
        b'weir_router_pool_requests_created{pool="decode"} 1.7e9\n'
    )
    assert counters_by_label(text, "weir_router_pool_requests_total", "pool") == {"decode": 6.0}
