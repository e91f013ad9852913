"""What the benchmark with aiperf takes for agreement."""

from typing import Any

from tests.benchmarks.bench_aiperf import agreed

METRICS = """\
weir_router_requests_total{class="default",outcome="completed"} 4.0
weir_router_requests_total{class="default",outcome="failed"} 0.0
"""


def report(**fields: float) -> dict[str, Any]:
    return {name: {"avg": value} for name, value in fields.items()}


def test_all_answers_counted_at_both_ends_agree() -> None:
    assert agreed(report(request_count=4.0, total_osl=128.0), METRICS, 4) == []


def test_whatever_differs_is_named() -> None:
    failed = METRICS.replace('"failed"} 0.0', '"failed"} 1.0')
    assert len(agreed(report(request_count=4.0), failed, 4)) == 1
    assert len(agreed(report(request_count=3.0), METRICS, 4)) == 1
    assert len(agreed(report(request_count=4.0, error_request_count=2.0), METRICS, 4)) == 1
    assert len(agreed(report(request_count=4.0, total_osl=127.0), METRICS, 4)) == 1
