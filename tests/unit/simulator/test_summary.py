"""What a run comes to: every figure of the summary on worlds small enough to count by hand."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.simulator.worlds import Rows, Scripted, scenario
from weir.domain.ids import PoolId
from weir.simulator import policies
from weir.simulator.journal import Step
from weir.simulator.run import simulate
from weir.simulator.summarize import summarize
from weir.simulator.summary import SimulationSummary, without_costs
from weir.simulator.summary_text import summary_text
from weir.simulator.world import World

HOUR = 3600.0
Action = tuple[float, Callable[[World], object]]
Summarized = Callable[..., SimulationSummary]


@pytest.fixture
def summarized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Summarized:
    def run(rows: Rows, *sets: str, script: tuple[Action, ...] = (), **window: float):
        monkeypatch.setattr(policies, "make", lambda name: Scripted(*script))
        outcome = simulate(scenario(tmp_path, rows, *sets, **window), "scripted")
        return summarize(outcome, wall_s=2.0, cpu_s=0.5)

    return run


def starts(pool: str) -> Callable[[World], object]:
    return lambda world: world.cluster.start(PoolId(pool))


def stops(pool: str) -> Callable[[World], object]:
    return lambda world: world.cluster.stop(world.cluster.pools[PoolId(pool)].ready[-1], 60.0)


def steps(pool: str, before: int, after: int) -> Callable[[World], object]:
    def enter(world: World) -> None:
        world.journal.step(
            Step(at_s=world.now_s, pool_id=PoolId(pool), before=before, after=after, reason="why")
        )

    return enter


def test_latencies_are_within_a_bucket_of_what_one_request_takes(summarized: Summarized) -> None:
    # 500 tokens at 1,000 tokens/s and the first decode iteration; then 20 ms a token.
    summary = summarized([(1.0, 500, 11)], to_s=100.0)
    short = summary.classes["short"]
    assert short.ttft_p50_s == pytest.approx(0.52, rel=0.041)
    assert short.itl_p99_s == pytest.approx(0.02, rel=0.041)
    assert (short.ttft_slo_s, short.itl_slo_s) == (1.0, 0.05)
    assert (summary.ttft_p95_s, summary.itl_p50_s) == (short.ttft_p95_s, short.itl_p50_s)
    assert summary.pools["prefill"].ttft_p99_s == summary.pools["decode"].ttft_p99_s


def test_requests_are_judged_by_the_slo_of_their_true_class(summarized: Summarized) -> None:
    # The second waits for the first: 0.9 s and 0.9 s are too much for the short class only.
    rows = [(1.0, 900, 2), (1.0, 900, 2), (50.0, 1200, 2)]
    summary = summarized(rows, to_s=100.0)
    assert summary.classes["short"].attainment == 0.5
    assert summary.classes["long"].attainment == 1.0
    assert summary.attainment == pytest.approx(2 / 3)
    assert summary.attainment_lowest == 0.5
    assert summary.goodput_rps == pytest.approx(2 / 100.0)
    assert summary.pools["decode"].attainment == pytest.approx(2 / 3)


def test_a_prompt_that_no_idle_replica_serves_in_time_is_infeasible(
    summarized: Summarized,
) -> None:
    summary = summarized([(1.0, 2500, 2), (20.0, 100, 2)], to_s=100.0)
    assert summary.infeasible == summary.classes["long"].infeasible == 1
    assert summary.classes["long"].attainment is None
    assert summary.attainment == 1.0


def test_gpu_hours_are_those_of_the_pools_and_count_all_gpus(summarized: Summarized) -> None:
    summary = summarized([(1.0, 500, 11)], to_s=HOUR)
    assert summary.pools["prefill"].gpu_hours == pytest.approx(1.0)
    assert summary.pools["decode"].gpu_hours == pytest.approx(2.0)
    assert summary.gpu_hours == pytest.approx(3.0)
    assert summary.replica_hours == pytest.approx(2.0)
    assert summary.peak_charged_gpus == 3


def test_the_peak_is_of_the_whole_run_and_of_all_pools_together(summarized: Summarized) -> None:
    script = ((10.0, starts("prefill")), (50.0, stops("prefill")), (60.0, starts("decode")))
    summary = summarized([(150.0, 500, 11)], script=script, to_s=200.0, warmup_s=100.0)
    assert summary.peak_charged_gpus == 5


def test_the_warm_up_counts_neither_requests_nor_gpu_hours_nor_scaling(
    summarized: Summarized,
) -> None:
    script = (
        (100.0, steps("prefill", 1, 2)),
        (100.0, starts("prefill")),
        (2000.0, steps("prefill", 2, 1)),
        (2000.0, stops("prefill")),
    )
    rows = [(10.0, 500, 11), (2000.5, 500, 11)]
    summary = summarized(rows, script=script, to_s=HOUR, warmup_s=1800.0)
    assert (summary.requests, summary.uncounted) == (1, 1)
    assert summary.pools["prefill"].gpu_hours == pytest.approx((1800.0 + 200.0) / HOUR)
    assert (summary.scale_ups, summary.scale_downs, summary.scaling_steps) == (0, 1, 1)
    assert [span.start_s for span in summary.timeline] == [1980.0]
    assert summary.requests_per_cpu_s == 2 / 0.5


def test_steps_have_a_number_and_a_size(summarized: Summarized) -> None:
    script = ((5.0, steps("prefill", 1, 4)), (9.0, steps("decode", 3, 2)))
    summary = summarized([(1.0, 500, 11)], script=script, to_s=100.0)
    assert (summary.scaling_steps, summary.scaling_step_mean, summary.scaling_step_max) == (2, 2, 3)


def test_churn_is_starts_and_stops_per_ready_replica_hour(summarized: Summarized) -> None:
    # Ready after 10 s and gone 1,800 s later: half an hour beside the two of those that stay.
    script = ((10.0, starts("prefill")), (1820.0, stops("prefill")))
    summary = summarized([(1.0, 500, 11)], script=script, to_s=HOUR)
    pool = summary.pools["prefill"]
    assert (summary.scale_ups, summary.scale_downs) == (1, 1)
    assert summary.churn == pytest.approx(2 / 2.5)
    assert (pool.replicas_min, pool.replicas_max, pool.replicas_final) == (1, 2, 1)
    assert pool.replicas_mean == pytest.approx(1.5)
    assert pool.gpu_hours == pytest.approx(1.0 + 1810.0 / HOUR)


def test_utilization_is_computing_time_and_keeps_that_of_replicas_that_are_gone(
    summarized: Summarized,
) -> None:
    script = ((50.0, starts("prefill")), (61.0, stops("prefill")))
    summary = summarized([(1.0, 500, 11), (60.5, 400, 11)], script=script, to_s=100.0)
    prefill, decode = summary.pools["prefill"], summary.pools["decode"]
    assert prefill.utilization == pytest.approx(0.9 / (100.0 + 1.0), rel=0.01)
    assert decode.utilization == pytest.approx(2 * 11 * 0.02 / 100.0, rel=0.01)


def test_only_what_is_computed_in_the_counted_time_is_utilization(summarized: Summarized) -> None:
    summary = summarized([(1.0, 500, 11), (60.5, 400, 11)], to_s=100.0, warmup_s=50.0)
    assert summary.pools["prefill"].utilization == pytest.approx(0.4 / 50.0, rel=0.01)


def test_one_seed_gives_one_summary_but_for_its_costs(summarized: Summarized) -> None:
    rows = [(float(at), 300 + 7 * at, 5 + at) for at in range(40)]
    sets = ("simulation.speed_bias=0.2", "simulation.speed_noise=0.02")
    first, second = (without_costs(summarized(rows, *sets, to_s=60.0)) for _ in range(2))
    assert first.model_dump_json() == second.model_dump_json()
    other = without_costs(summarized(rows, *sets, to_s=60.0, seed=1))
    assert other.model_dump_json() != first.model_dump_json()


def test_a_summary_survives_json(summarized: Summarized) -> None:
    summary = summarized([(1.0, 500, 11)], to_s=100.0)
    assert SimulationSummary.model_validate_json(summary.model_dump_json()) == summary


def test_what_nobody_has_worked_out_is_unknown(summarized: Summarized) -> None:
    summary = summarized([(1.0, 500, 1)], to_s=100.0)
    assert summary.itl_p99_s is None
    assert summary.scaling_step_mean is None
    assert summary.margin is None


def test_violations_are_counted_and_the_first_ones_shown(summarized: Summarized) -> None:
    def breaks(world: World) -> None:
        for number in range(9):
            world.invariants.found("B1", f"{number} GPUs")

    summary = summarized([(1.0, 500, 11)], script=((5.0, breaks),), to_s=100.0)
    assert (summary.invariant_violations, summary.budget_violations) == (9, 9)
    assert summary.violations[0] == "B1 at 5.000 s: 0 GPUs"
    assert len(summary.violations) == 5
    assert "9 VIOLATIONS" in summary_text(summary)


def test_an_error_that_a_role_logs_and_survives_is_a_violation(
    summarized: Summarized, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(world: World) -> None:
        logging.getLogger("role").warning("a peer does not answer")
        logging.getLogger("role").error("a round failed")

    summary = summarized([(1.0, 500, 11)], script=((5.0, fails),), to_s=100.0)
    assert summary.violations == ("error at 5.000 s: a round failed",)
    assert capsys.readouterr().err == ""
    assert logging.getLogger().handlers == [
        handler
        for handler in logging.getLogger().handlers
        if "role_errors" not in type(handler).__module__
    ]


def test_the_text_names_every_class_and_pool_and_says_what_is_unknown(
    summarized: Summarized,
) -> None:
    text = summary_text(summarized([(1.0, 500, 11)], to_s=100.0))
    lines = text.splitlines()
    assert lines[0] == "simulated   small under scripted, seed 0, 0 s to 100 s"
    assert {line.split()[0] for line in lines if line} >= {"short", "long", "prefill", "decode"}
    assert next(line for line in lines if line.startswith("long")).split()[2] == "–"
    assert all(line == line.rstrip() for line in lines)
