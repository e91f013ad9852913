"""What Dynamo's workers have measured of themselves becomes the timing of a profile."""

import asyncio
import json
import runpy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from weir.domain.errors import FleetError
from weir.domain.profile import EngineProfile, PolynomialTiming
from weir.fleet import Level, inspect, load

DOCUMENT = """
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: measured}
spec:
  models: [{name: m}]
  budget: {gpus: 4}
  profiles:
    engine: {file: FILE}
  pools: [{name: agg, role: agg, model: m, profile: engine, max_replicas: 2}]
"""
LIMITS = {
    "max_num_scheduled_tokens": 4096,
    "max_num_running_reqs": 64,
    "block_size": 32,
    "num_gpu_blocks": 3125,
}
KV_TOKENS = 100_000


def _point(kind: str, wall_time: float, *, rank: int = 0, **scheduled: int) -> dict[str, Any]:
    one = {"wall_time": wall_time, "dp_rank": rank, "scheduled_requests": scheduled}
    return {"point": {"point_type": kind}, "fpms": [one]}


def _prefills() -> list[dict[str, Any]]:
    # 20 ms + 0.1 ms per token.
    return [
        _point("prefill", 0.020 + 1e-4 * tokens, num_prefill_requests=1, sum_prefill_tokens=tokens)
        for tokens in (128, 1024, 2048, 4096)
    ]


def _decodes() -> list[dict[str, Any]]:
    # 5 ms + 1 ms per sequence + 40 ms at full KV.
    return [
        _point(
            "decode",
            0.005 + 0.001 * sequences + 0.040 * sequences * context / KV_TOKENS,
            num_decode_requests=sequences,
            sum_decode_kv_tokens=sequences * context,
        )
        for sequences in (1, 16, 40)
        for context in (500, 2000)
    ]


def _run(*points: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"schema_version": 2, "status": "complete", "results": list(points), **more}


def _profile(folder: Path, runs: dict[str, dict[str, Any]], file: str) -> EngineProfile:
    for name, run in runs.items():
        (folder / name).write_text(json.dumps(run))
    document = folder / "fleet.yaml"
    document.write_text(DOCUMENT.replace("FILE", file))
    return load(document).fleet.pools[0].profile


def _check(profile: EngineProfile) -> None:
    assert isinstance(profile.timing, PolynomialTiming)
    assert profile.timing.prefill_time_s(2000) == pytest.approx(0.220)
    # 20 sequences, a quarter of the KV in use: 5 + 20 + 10 ms.
    assert profile.timing.decode_time_s(20, 0.25) == pytest.approx(0.035)


def test_times_and_limits_are_read_from_one_run(tmp_path: Path) -> None:
    run = _run(*_prefills(), *_decodes(), limits=LIMITS)
    profile = _profile(tmp_path, {"bench.json": run}, "bench.json")
    _check(profile)
    assert (profile.kv_tokens, profile.block_tokens) == (KV_TOKENS, 32)
    assert (profile.max_batched_tokens, profile.max_sequences) == (4096, 64)


def test_what_the_document_says_goes_before_limits(tmp_path: Path) -> None:
    run = _run(*_prefills(), *_decodes(), limits=LIMITS)
    file = "bench.json, max_sequences: 8"
    assert _profile(tmp_path, {"bench.json": run}, file).max_sequences == 8


def test_runs_of_both_stages_are_read_from_a_folder(tmp_path: Path) -> None:
    runs = {
        "benchmark_results_p.json": _run(*_prefills(), limits=LIMITS),
        "benchmark_results_d.json": _run(*_decodes(), limits=LIMITS),
    }
    _check(_profile(tmp_path, runs, "."))


def test_ranks_add_up_and_take_as_long_as_the_slowest(tmp_path: Path) -> None:
    points = _prefills()
    for point in points:
        (one,) = point["fpms"]
        half = {"sum_prefill_tokens": one["scheduled_requests"]["sum_prefill_tokens"] // 2}
        quick = one["wall_time"] - 0.01
        point["fpms"] = [
            one | {"scheduled_requests": half},
            one | {"scheduled_requests": half, "dp_rank": 1, "wall_time": quick},
        ]
    run = _run(*points, *_decodes(), limits=LIMITS)
    _check(_profile(tmp_path, {"bench.json": run}, "bench.json"))


def test_prompts_that_read_a_cache_do_not_count_where_others_are_enough(tmp_path: Path) -> None:
    cached = _point("prefill", 9.0, sum_prefill_tokens=100, sum_prefill_kv_tokens=5000)
    run = _run(cached, *_prefills(), *_decodes(), limits=LIMITS)
    _check(_profile(tmp_path, {"bench.json": run}, "bench.json"))


@pytest.mark.parametrize(
    "odd",
    [
        7,
        {"point": {"point_type": "prefill"}, "fpms": 1},
        {"point": None, "fpms": [{}]},
        _point("prefill", 0.0, sum_prefill_tokens=10),
        _point("prefill", float("nan"), sum_prefill_tokens=10),
        _point("decode", 0.1, num_decode_requests=0, sum_decode_kv_tokens=10),
        _point("mixed", 0.1, sum_prefill_tokens=10),
    ],
)
def test_points_that_cannot_be_are_left_out(tmp_path: Path, odd: Any) -> None:
    run = _run(odd, *_prefills(), *_decodes(), limits=LIMITS)
    _check(_profile(tmp_path, {"bench.json": run}, "bench.json"))


def test_a_run_that_failed_says_why(tmp_path: Path) -> None:
    run = _run(status="failed", error="no KV blocks")
    with pytest.raises(FleetError, match="the benchmark has failed: no KV blocks"):
        _profile(tmp_path, {"bench.json": run}, "bench.json")


def test_a_run_without_points_is_none(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match=r"bench\.json has no points"):
        _profile(tmp_path, {"bench.json": _run()}, "bench.json")


def test_a_stage_that_is_not_measured_is_named(tmp_path: Path) -> None:
    profile = _profile(tmp_path, {"bench.json": _run(*_prefills(), limits=LIMITS)}, "bench.json")
    assert isinstance(profile.timing, PolynomialTiming)
    assert profile.timing.decode_s == PolynomialTiming().decode_s
    _, findings = inspect(tmp_path / "fleet.yaml", [])
    (doubt,) = (found for found in findings if "decode points" in found.message)
    assert doubt.level is Level.WARNING


class _Worker:
    """Dynamo's runtime, endpoint, client and answer, as far as they are used."""

    def __init__(self, data: object) -> None:
        self._data = data
        self.asked = ""

    def endpoint(self, name: str) -> "_Worker":
        self.asked = name
        return self

    async def client(self) -> "_Worker":
        return self

    def instance_ids(self) -> list[int]:
        return [1]

    async def round_robin(self, request: object) -> AsyncIterator["_Worker"]:
        async def answers() -> AsyncIterator["_Worker"]:
            yield self

        return answers()

    def data(self) -> object:
        return self._data


def _fetched(worker: _Worker) -> Any:
    path = Path(__file__).parents[3] / "examples/dynamo/self_benchmark.py"
    fetched = runpy.run_path(str(path))["fetched"]
    return asyncio.run(fetched(worker, "prod.backend", timeout_s=5.0))


@pytest.mark.parametrize("encode", [json.dumps, dict])
def test_the_example_asks_a_worker_for_its_run(encode: Any) -> None:
    run = _run(*_prefills())
    worker = _Worker(encode(run))
    assert _fetched(worker) == run
    assert worker.asked == "prod.backend.get_perf_metrics"


def test_the_example_says_why_a_worker_has_none() -> None:
    with pytest.raises(RuntimeError, match="has no benchmark: it was not asked for"):
        _fetched(_Worker({"status": "error", "message": "it was not asked for"}))
