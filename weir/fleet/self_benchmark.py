"""What Dynamo's workers measure of themselves when they start: forward passes, point by point.

They write it to a file (`--benchmark-output-path`) and serve the same as `get_perf_metrics`.
A point is one iteration that only prefills or only decodes; `fpms` holds it as each rank saw it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from weir.fleet.profile_points import Measurements

__all__ = ["benchmarked", "is_benchmark"]

_ENOUGH = 3
_LIMITS = {
    "max_batched_tokens": "max_num_scheduled_tokens",
    "max_sequences": "max_num_running_reqs",
    "block_tokens": "block_size",
}
_MOST = 10**9

_Pass = Mapping[str, float]


def is_benchmark(data: object) -> bool:
    return isinstance(data, Mapping) and isinstance(data.get("results"), list)


def benchmarked(runs: Sequence[Mapping[str, Any]]) -> Measurements:
    """The points of all `runs` together. Raises `ValueError` if one of them has failed."""
    prefills: list[_Pass] = []
    decodes: list[_Pass] = []
    for run in runs:
        if run.get("status") in ("failed", "error"):
            why = run.get("error") or run.get("message") or "no reason given"
            raise ValueError(f"the benchmark has failed: {why}")
        for kind, one in _points(run["results"]):
            if kind == "prefill" and one["prefill_tokens"] > 0.0:
                prefills.append(one)
            elif kind == "decode" and min(one["decodes"], one["decode_kv_tokens"]) > 0.0:
                decodes.append(one)
    fresh = [one for one in prefills if not one["prefill_kv_tokens"]]
    if len(fresh) >= _ENOUGH:  # what reads a cache takes longer than its new tokens do
        prefills = fresh
    return Measurements(
        prompt_tokens=np.array([one["prefill_tokens"] for one in prefills]),
        ttft_s=np.array([one["wall_s"] for one in prefills]),
        active_kv_tokens=np.array([one["decode_kv_tokens"] for one in decodes]),
        context_tokens=np.array([one["decode_kv_tokens"] / one["decodes"] for one in decodes]),
        itl_s=np.array([one["wall_s"] for one in decodes]),
        **_limits(runs),
    )


def _points(results: Sequence[Any]) -> Iterator[tuple[object, _Pass]]:
    """Each point once: ranks that took part in one iteration add up, and it lasts as the slowest.

    Points that hold something else are left out, as are those without time.
    """
    for result in results:
        if not isinstance(result, Mapping) or not isinstance(result.get("fpms"), list):
            continue
        point = result.get("point")
        kind = point.get("point_type") if isinstance(point, Mapping) else None
        by_rank: dict[object, _Pass] = {}
        for one in result["fpms"]:
            seen = _pass(one)
            if seen is not None:
                by_rank[one.get("dp_rank", 0)] = seen  # of several the last: it is warm
        if by_rank:
            yield kind, _together(list(by_rank.values()))


def _pass(one: object) -> _Pass | None:
    scheduled = one.get("scheduled_requests") if isinstance(one, Mapping) else None
    if not isinstance(one, Mapping) or not isinstance(scheduled, Mapping):
        return None
    found = {
        "wall_s": one.get("wall_time"),
        "prefill_tokens": scheduled.get("sum_prefill_tokens", 0),
        "prefill_kv_tokens": scheduled.get("sum_prefill_kv_tokens", 0),
        "decodes": scheduled.get("num_decode_requests", 0),
        "decode_kv_tokens": scheduled.get("sum_decode_kv_tokens", 0),
    }
    sound = {name: value for name, value in found.items() if _sound(value)}
    return sound if len(sound) == len(found) and sound["wall_s"] > 0.0 else None


def _sound(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0.0 <= value <= 1e12  # type: ignore[arg-type,operator]


def _together(ranks: Sequence[_Pass]) -> _Pass:
    together = {name: sum(one[name] for one in ranks) for name in ranks[0]}
    return together | {"wall_s": max(one["wall_s"] for one in ranks)}


def _limits(runs: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """What the engine says of itself, as far as all runs say the same."""
    told = [run["limits"] for run in runs if isinstance(run.get("limits"), Mapping)]
    if not told or any(limits != told[0] for limits in told):
        return {}
    limits: dict[str, int] = {}
    for name, theirs in _LIMITS.items():
        if _whole(told[0].get(theirs)):
            limits[name] = told[0][theirs]
    blocks = told[0].get("num_gpu_blocks")
    if "block_tokens" in limits and _whole(blocks):
        limits["kv_tokens"] = min(_MOST, blocks * limits["block_tokens"])
    return limits


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST
