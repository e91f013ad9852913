"""Measured times of Dynamo's profiler and mocker become the timing of a profile."""

import json
from pathlib import Path

import numpy as np
import pytest

from weir.domain.errors import FleetError
from weir.domain.profile import PolynomialTiming
from weir.fleet import load

DOCUMENT = """
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: measured}
spec:
  models: [{name: m}]
  budget: {gpus: 4}
  profiles:
    engine: {file: FILE MORE}
  pools: [{name: agg, role: agg, model: m, profile: engine, max_replicas: 2}]
"""
# Prefill 20 ms + 0.1 ms per token; decode 5 ms + 1 ms per sequence + 40 ms at full KV.
ISL = [100.0, 1000.0, 4000.0, 8000.0]
KV_TOKENS = 100_000
CONTEXTS, SEQUENCES = (500.0, 2000.0), (1.0, 10.0, 40.0)


def _prefill() -> dict[str, list[float]]:
    return {"prefill_isl": ISL, "prefill_ttft": [20.0 + 0.1 * isl for isl in ISL]}


def _decode() -> dict[str, list[float]]:
    points = [(n * context / KV_TOKENS, context, n) for context in CONTEXTS for n in SEQUENCES]
    return {
        "x_kv_usage": [usage for usage, _, _ in points],
        "y_context_length": [context for _, context, _ in points],
        "z_itl": [5.0 + n + 40.0 * usage for usage, _, n in points],
        "z_thpt_per_gpu": [1.0] * len(points),
        "max_kv_tokens": [float(KV_TOKENS)],
    }


def _timing(folder: Path, file: str, more: str = "") -> tuple[PolynomialTiming, int]:
    document = folder / "fleet.yaml"
    document.write_text(DOCUMENT.replace("FILE", file).replace(" MORE", more))
    profile = load(document).fleet.pools[0].profile
    assert isinstance(profile.timing, PolynomialTiming)
    return profile.timing, profile.kv_tokens


def _check(timing: PolynomialTiming) -> None:
    assert timing.prefill_time_s(2000) == pytest.approx(0.220)
    # 20 sequences, a quarter of the KV in use: 5 + 20 + 10 ms.
    assert timing.decode_time_s(20, 0.25) == pytest.approx(0.035)


def test_a_folder_of_interpolation_data_is_read(tmp_path: Path) -> None:
    for stage, data in (("prefill", _prefill()), ("decode", _decode())):
        folder = tmp_path / "results" / f"selected_{stage}_interpolation"
        folder.mkdir(parents=True)
        np.savez(folder / "raw_data.npz", **{k: np.array(v) for k, v in data.items()})
    timing, kv_tokens = _timing(tmp_path, "results")
    _check(timing)
    assert kv_tokens == KV_TOKENS


def test_json_twins_are_read(tmp_path: Path) -> None:
    (tmp_path / "prefill_raw_data.json").write_text(json.dumps(_prefill()))
    (tmp_path / "decode_raw_data.json").write_text(json.dumps(_decode()))
    timing, _ = _timing(tmp_path, ".")
    _check(timing)


def test_a_mockers_profile_is_read(tmp_path: Path) -> None:
    active, contexts = np.array([1000.0, 10_000.0, 40_000.0]), np.array(CONTEXTS)
    itl = 5.0 + active[:, None] / contexts[None, :] + 40.0 * active[:, None] / KV_TOKENS
    np.savez(
        tmp_path / "mocker.npz",
        prefill_isl=np.array(ISL),
        prefill_ttft_ms=np.array(_prefill()["prefill_ttft"]),
        decode_active_kv_tokens=active,
        decode_context_length=contexts,
        decode_itl=itl,
    )
    timing, kv_tokens = _timing(tmp_path, "mocker.npz", f", kv_tokens: {KV_TOKENS}")
    _check(timing)
    assert kv_tokens == KV_TOKENS


def test_what_the_document_says_goes_before(tmp_path: Path) -> None:
    (tmp_path / "all.json").write_text(json.dumps({**_prefill(), **_decode()}))
    timing, kv_tokens = _timing(tmp_path, "all.json", ", kv_tokens: 50000")
    assert kv_tokens == 50_000
    # The same tokens are twice the share of half the space.
    assert timing.decode_time_s(20, 0.5) == pytest.approx(0.035)


@pytest.mark.parametrize(
    ("content", "more", "message"),
    [
        (None, "", "cannot be read"),
        ("{", "", "cannot be read"),
        ("[1]", "", "must be an object"),
        (json.dumps(_prefill()), "", "needs prefill_isl, prefill_ttft, x_kv_usage"),
        (json.dumps({**_prefill(), **_decode(), "z_itl": [1.0]}), "", "differ in length"),
        (json.dumps({**_prefill(), **_decode(), "prefill_ttft": [1, 2, 3, -4]}), "", "above 0"),
        (json.dumps({**_prefill(), **_decode(), "z_itl": "fast"}), "", "differ in length"),
        (json.dumps({**_prefill(), **_decode()}), ", timing: {}", "either `file` or `timing`"),
    ],
)
def test_what_cannot_be_used_is_refused_at_its_place(
    tmp_path: Path, content: str | None, more: str, message: str
) -> None:
    if content is not None:
        (tmp_path / "all.json").write_text(content)
    with pytest.raises(FleetError, match=message) as caught:
        _timing(tmp_path, "all.json", more)
    assert "spec.profiles.engine.file" in str(caught.value)
