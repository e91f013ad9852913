"""Turns that go straight to the decode engine of the turn before, in simulated fleets."""

from tests.benchmarks.bench_cached import Figures, measure, tables

SHORT_S = 240.0


def test_turns_find_at_decode_engines_what_the_router_takes_them_for() -> None:
    two_legs, cached = (measure(250, 0.8, below, 0, SHORT_S) for below in (0, 1024))
    assert two_legs.direct == 0.0
    assert cached.direct > 0.05
    assert abs(cached.hits - cached.expected) < 0.01
    assert cached.hits > 0.5
    assert cached.busy < two_legs.busy
    assert cached.ttft_mean_s < two_legs.ttft_mean_s


def test_a_row_is_the_mean_over_seeds() -> None:
    one, two = (
        Figures(
            itl_ms=100, load=0.8, below=256, seed=seed, direct=0.1 * seed, hits=0.9, expected=0.9,
            busy=0.5, attainment=0.98 + 0.01 * seed, ttft_mean_s=1.0 + seed, ttft_p50_s=1.0,
            ttft_p99_s=9.0, itl_mean_s=0.012, itl_p99_s=0.016, shed=2 * seed,
        )
        for seed in (0, 1)
    )  # fmt: skip
    row = list(tables([one, two]))[-1]
    assert row.startswith("| 80% | 256 | 5.0% | 90.0% | 98.50% | 1.50 / 1.00 / 9.0 s |")
    assert row.endswith("| 12.0 / 16.0 ms | 50.0%, 1 shed |")
