"""The documents we ship are sound, and dimensioned as they say."""

import math
from pathlib import Path

import pytest

from weir.domain.fleet import PoolSpec, Role, Slo
from weir.fleet import check, load
from weir.sizing.capacity import replica_capacity_rps
from weir.workload import read_trace

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
