"""The documents we ship are sound, and dimensioned as they say."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from weir.domain.fleet import PoolSpec, Role, Slo
from weir.fleet import check, load
from weir.sizing.capacity import replica_capacity_rps
from weir.workload import TraceColumns, read_columns, read_trace, superpose

EXAMPLES = Path(__file__).parents[3] / "examples"
FLEETS = sorted((EXAMPLES / "fleets").glob("*.yaml"))


def _capacity_rps(pool: PoolSpec, slo: Slo, isl_tokens: float, osl_tokens: float) -> float:
    """What a replica is planned to carry at 80 %."""
    rate_rps = replica_capacity_rps(
        pool.profile, pool.role, slo, isl_tokens, osl_tokens, utilization=0.8
    )
    assert rate_rps is not None
    return rate_rps


def test_the_six_examples_are_there() -> None:
    names = {"demo", "agg", "disagg", "classes", "airline", "contended"}
    assert {path.stem for path in FLEETS} >= names


@pytest.mark.parametrize("path", FLEETS, ids=lambda path: path.stem)
def test_an_example_has_no_findings_and_the_name_of_its_file(path: Path) -> None:
    loaded = load(path)
    assert check(loaded) == []
    assert loaded.fleet.name == path.stem
    assert loaded.workload.trace is not None
    assert read_trace(loaded.workload.trace)


@pytest.mark.parametrize("path", FLEETS, ids=lambda path: path.stem)
def test_a_document_written_as_json_is_the_same_fleet(path: Path, tmp_path: Path) -> None:
    loaded = load(path)
    copy = tmp_path / "copy.yaml"
    copy.write_text(loaded.document.model_dump_json(by_alias=True, exclude_none=True))
    again = load(copy)
    assert again.fleet == loaded.fleet
    assert (again.router, again.planner) == (loaded.router, loaded.planner)


def test_demo_carries_twice_six_requests_a_second_within_its_bounds_and_budget() -> None:
    fleet = load(EXAMPLES / "fleets/demo.yaml").fleet
    chat = fleet.classes[0]
    needed_gpus = 0
    for role in (Role.PREFILL, Role.DECODE):
        pools = [pool for pool in fleet.pools if pool.role is role]
        rates_rps = [_capacity_rps(pool, chat.slo, 1200, 240) for pool in pools]
        most = [pool.max_replicas for pool in pools]
        assert len(pools) == 2
        assert sum(m * rate for m, rate in zip(most, rates_rps, strict=True)) >= 12.0
        needed_gpus += math.ceil(12.0 / min(rates_rps))
    assert needed_gpus <= fleet.budget.gpus < sum(pool.max_replicas for pool in fleet.pools)


def test_airline_needs_two_prefill_replicas_in_the_burst_and_one_decode_replica() -> None:
    loaded = load(EXAMPLES / "fleets/airline.yaml")
    assert loaded.workload.trace is not None
    burst = [r for r in read_trace(loaded.workload.trace) if 60.0 <= r.timestamp_s < 122.0]
    rate_rps = len(burst) / 62.0
    isl_tokens = sum(r.isl_tokens for r in burst) / len(burst)
    osl_tokens = sum(r.osl_tokens for r in burst) / len(burst)
    (slo,) = (item.slo for item in loaded.fleet.classes)
    prefill, decode = loaded.fleet.pools
    needs = [
        rate_rps / _capacity_rps(pool, slo, isl_tokens, osl_tokens) for pool in (prefill, decode)
    ]
    assert 1.1 < needs[0] < 1.9
    assert needs[1] < 0.3
    # All 200 users decoding at once stay within the ITL target of 30 ms.
    assert (
        decode.profile.iteration_s(prefill_tokens=0, sequences=200, kv_used_tokens=200 * 2000)
        < slo.itl_s
    )


def test_contended_demand_exceeds_its_budget_even_on_the_fast_gpus() -> None:
    loaded = load(EXAMPLES / "fleets/contended.yaml")
    fleet = loaded.fleet
    assert loaded.workload.trace is not None
    requests = read_trace(loaded.workload.trace)
    rate_rps = loaded.workload.rate_scale * len(requests) / requests[-1].timestamp_s
    isl_tokens = sum(r.isl_tokens for r in requests) / len(requests)
    osl_tokens = sum(r.osl_tokens for r in requests) / len(requests)
    needed_gpus = sum(
        rate_rps / _capacity_rps(pool, fleet.classes[0].slo, isl_tokens, osl_tokens)
        for pool in fleet.pools
        if pool.gpu_class == "H100"
    )
    assert needed_gpus > fleet.budget.gpus
    assert fleet.budget.by_gpu_class["H100"] < fleet.budget.gpus


PIECES = {
    "disagg": ("alibaba_large_d4_5400-12600", "alibaba_large_d5_bursty_25200-32400"),
    "agg": ("alibaba_large_d4_5400-12600", "alibaba_large_d5_bursty_25200-32400"),
    "classes": ("fleet_d3_25200-32400",),
}
"""Two hours of the days for which these fleets are dimensioned at ten times the rate."""


@pytest.mark.parametrize("name", PIECES)
def test_the_bounds_of_a_dimensioned_fleet_are_well_above_its_peak(name: str) -> None:
    fleet = load(EXAMPLES / "fleets" / f"{name}.yaml").fleet
    for piece in PIECES[name]:
        requests = superpose(read_columns(EXAMPLES / "traces" / f"{piece}.csv.gz"), 10.0)
        start_s, end_s = map(int, piece.rpartition("_")[2].split("-"))
        halves = range(start_s, end_s, 30)
        rates = np.array([_tokens_per_s(requests.between(t, t + 30)) for t in halves])
        prompts, outputs = rates.T
        prefill, decode = prompts / (9_000 if name == "agg" else 3_000), outputs / 800
        together = prefill + decode
        # Engines may be a fifth slower than they seem, and be loaded to four fifths.
        assert together.max() / 0.64 < fleet.budget.gpus
        roles = {Role.PREFILL: prefill, Role.DECODE: decode, Role.AGG: together}
        for pool in fleet.pools:
            assert roles[pool.role].max() / 0.64 < pool.max_replicas <= fleet.budget.gpus
        # And it is worth simulating: neither idle nor always the same.
        assert together.mean() > 7.0
        assert together.max() > 1.3 * together.mean()


def _tokens_per_s(columns: TraceColumns) -> tuple[float, float]:
    return columns.isl_tokens.sum() / 30.0, columns.osl_tokens.sum() / 30.0


@pytest.mark.parametrize(("name", "itl_ms"), [("disagg", 50), ("classes", 50), ("agg", 100)])
def test_a_dimensioned_fleets_engines_are_what_its_comments_say(name: str, itl_ms: int) -> None:
    loaded = load(EXAMPLES / "fleets" / f"{name}.yaml")
    for pool in loaded.fleet.pools:
        profile, full = pool.profile, pool.profile.max_batched_tokens
        iteration_s = profile.iteration_s(prefill_tokens=full, sequences=0, kv_used_tokens=0)
        assert full / iteration_s == pytest.approx(9_000 if name == "agg" else 3_000, rel=1e-3)
        decode_s = profile.iteration_s(prefill_tokens=0, sequences=32, kv_used_tokens=32_000)
        assert profile.max_sequences == 32
        assert decode_s == pytest.approx(0.040)
        assert pool.start_up_s == 60.0
    assert {item.slo.itl_s for item in loaded.fleet.classes} == {itl_ms / 1e3}
    assert {item.slo.percentile for item in loaded.fleet.classes} == {0.99}


def test_an_aggregated_iteration_full_of_prompts_stays_within_the_itl() -> None:
    fleet = load(EXAMPLES / "fleets/agg.yaml").fleet
    (profile,) = (pool.profile for pool in fleet.pools)
    assert profile.iteration_s(prefill_tokens=480, sequences=32, kv_used_tokens=0) < 0.094
    slow = replace(profile, speed=0.8)
    assert slow.iteration_s(prefill_tokens=498, sequences=14, kv_used_tokens=0) < 0.1
    assert slow.iteration_s(prefill_tokens=496, sequences=16, kv_used_tokens=0) > 0.1


def test_the_i_th_class_has_the_i_th_pool_of_each_role() -> None:
    fleet = load(EXAMPLES / "fleets/classes.yaml").fleet
    names = [item.name for item in fleet.classes]
    for role in (Role.PREFILL, Role.DECODE):
        pools = [pool.id for pool in fleet.pools if pool.role is role]
        assert pools == [f"{role}-{name}" for name in names]
