"""Files with an engine's measured times, as Dynamo's profiler and mocker have them.

A folder of interpolation data (`selected_{prefill,decode}_interpolation/raw_data.npz`, or
`{prefill,decode}_raw_data.json` in the same or in those folders), or one .npz or .json file that
has all keys, those of the profiler or those of the mocker. Times are in milliseconds there. Or what
workers have measured of themselves: one JSON file, or a folder of `benchmark_results*.json`.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from weir.fleet.profile_points import Floats, Measurements
from weir.fleet.self_benchmark import benchmarked, is_benchmark

__all__ = ["read_measurements"]

_MAX_BYTES = 64 << 20
_STAGES = ("prefill", "decode")
_PROFILER = {
    "prompts": "prefill_isl",
    "ttft_ms": "prefill_ttft",
    "usage": "x_kv_usage",
    "context": "y_context_length",
    "itl_ms": "z_itl",
}
_MOCKER = {
    "prompts": "prefill_isl",
    "ttft_ms": "prefill_ttft_ms",
    "active": "decode_active_kv_tokens",
    "context": "decode_context_length",
    "itl_ms": "decode_itl",
}


def read_measurements(path: Path) -> Measurements:
    """Raises `ValueError` that says what is missing or cannot be read."""
    benchmarks = _benchmarks(path)
    if benchmarks:
        return benchmarked(benchmarks)
    data: dict[str, Floats] = {}
    for file in _files(path):
        data.update(_arrays(file))
    for names in (_PROFILER, _MOCKER):
        if all(name in data for name in names.values()):
            found = {key: data[name] for key, name in names.items()}
            return _measurements(found, data.get("max_kv_tokens"))
    wanted = " or ".join(", ".join(names.values()) for names in (_PROFILER, _MOCKER))
    raise ValueError(f"{path.name} has {', '.join(sorted(data)) or 'nothing'}; needs {wanted}")


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for stage in _STAGES:
        inner = path / f"selected_{stage}_interpolation"
        candidates = (
            inner / "raw_data.npz",
            inner / f"{stage}_raw_data.json",
            path / f"{stage}_raw_data.json",
        )
        file = next((each for each in candidates if each.is_file()), None)
        if file is None:
            raise ValueError(f"{path.name} has no {candidates[0].relative_to(path)}")
        yield file


def _benchmarks(path: Path) -> list[Mapping[str, Any]]:
    """What workers have measured of themselves, if that is what is there."""
    if path.is_dir():
        return [_json(file) for file in sorted(path.glob("benchmark_results*.json"))]
    if path.suffix == ".npz":
        return []
    data = _json(path)
    return [data] if is_benchmark(data) else []


def _arrays(file: Path) -> dict[str, Floats]:
    if file.suffix != ".npz":
        data = _json(file)
        return {str(name): _numbers(str(name), value) for name, value in data.items()}
    try:
        return _from_npz(file)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror or error}") from None
    except zipfile.BadZipFile as error:
        raise ValueError(f"{file.name} cannot be read: {error}") from None


def _json(file: Path) -> Mapping[str, Any]:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise ValueError(f"{file.name} is larger than {_MAX_BYTES} bytes")
        data = json.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{file.name} cannot be read: {error}") from None
    if not isinstance(data, Mapping):
        raise ValueError(f"{file.name} must be an object of lists of numbers")
    return data


def _from_npz(file: Path) -> dict[str, Floats]:
    with zipfile.ZipFile(file) as archive:
        if sum(item.file_size for item in archive.infolist()) > _MAX_BYTES:
            raise ValueError(f"{file.name} is larger than {_MAX_BYTES} bytes")
    with np.load(file, allow_pickle=False) as arrays:
        return {name: _numbers(name, arrays[name]) for name in arrays.files}


def _numbers(name: str, value: Any) -> Floats:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return np.full(1, np.nan)


def _measurements(found: Mapping[str, Floats], most: Floats | None) -> Measurements:
    kv_tokens = float(most.flat[0]) if most is not None and most.size else None
    if kv_tokens is not None and not 1.0 <= kv_tokens < 1e12:
        raise ValueError(f"max_kv_tokens must be at least 1, not {kv_tokens}")
    itl_ms, context = found["itl_ms"], found["context"]
    if "usage" in found:
        if kv_tokens is None:
            raise ValueError("x_kv_usage needs max_kv_tokens beside it")
        active = found["usage"] * kv_tokens
    else:
        active = found["active"]
        if itl_ms.ndim == 2 and itl_ms.shape == (active.size, context.size):
            active, context = np.meshgrid(active.ravel(), context.ravel(), indexing="ij")
    return Measurements(
        prompt_tokens=found["prompts"].ravel(),
        ttft_s=found["ttft_ms"].ravel() / 1e3,
        active_kv_tokens=active.ravel(),
        context_tokens=context.ravel(),
        itl_s=itl_ms.ravel() / 1e3,
        kv_tokens=None if kv_tokens is None else int(kv_tokens),
    )
