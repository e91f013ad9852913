"""Which calls an idle fleet, as fast as it really is, could serve within their TTFT target."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from weir.domain.fleet import Fleet, PoolSpec, Role
from weir.domain.ids import PoolId
from weir.domain.profile import EngineProfile
from weir.fleet.feasible import Route
from weir.workload.columns import TraceColumns

__all__ = ["feasible_calls"]


def feasible_calls(
    fleet: Fleet,
    profiles: Mapping[PoolId, EngineProfile],
    columns: TraceColumns,
    class_index: NDArray[np.intp],
) -> NDArray[np.bool_]:
    """By call. `profiles` are the true ones; noise among replicas is not looked at."""
    model = fleet.models[0].name
    pools = [
        replace(pool, profile=profiles[pool.id])
        for pool in fleet.pools
        if pool.model == model and pool.max_replicas > 0
    ]
    isl, osl = columns.isl_tokens, columns.osl_tokens
    possible = np.zeros(len(columns), bool)
    for way in _ways(pools):
        longest = {ttft_s: way.longest_prompt(ttft_s) for ttft_s in _targets(fleet)}
        limits = np.array([longest[c.slo.ttft_s] for c in fleet.classes])
        possible |= (isl <= limits[class_index]) & way.holds(isl, osl)
    return possible


def _targets(fleet: Fleet) -> set[float]:
    return {item.slo.ttft_s for item in fleet.classes}


class _Way:
    """Prefill and decode pools that all go together and hold the same; one pool if aggregated.

    A route's TTFT is a sum of what its two pools need, so the best of each are best together,
    and not every pair need be looked at.
    """

    def __init__(self, prefill: Sequence[PoolSpec], decode: Sequence[PoolSpec]) -> None:
        self._prefill = prefill
        self._decode = decode
        self._any = Route(prefill=prefill[0], decode=decode[0])

    def holds(self, isl: NDArray[np.int64], osl: NDArray[np.int64]) -> NDArray[np.bool_]:
        slack = self._any.longest_prompt(1)
        limit = np.minimum(slack, self._any.decode.context_limit_tokens - osl)
        fits: NDArray[np.bool_] = isl <= limit
        return fits

    def longest_prompt(self, ttft_s: float) -> int:
        """The longest prompt whose first token comes in time while idle; found by halving."""
        low, high = 0, max(0, self._any.longest_prompt(1))
        while low < high:
            middle = (low + high + 1) // 2
            if self._idle_ttft_s(middle) <= ttft_s:
                low = middle
            else:
                high = middle - 1
        return low

    def _idle_ttft_s(self, isl: int) -> float:
        decode = min(
            self._decode,
            key=lambda pool: Route(prefill=self._prefill[0], decode=pool).idle_ttft_s(isl),
        )
        return min(Route(prefill=pool, decode=decode).idle_ttft_s(isl) for pool in self._prefill)


def _ways(pools: Sequence[PoolSpec]) -> list[_Way]:
    heads, tails = _alike(pools, Role.PREFILL), _alike(pools, Role.DECODE)
    apart = [
        _Way(head, tail)
        for head, tail in product(heads, tails)
        if head[0].dialect == tail[0].dialect
    ]
    return apart + [_Way([pool], [pool]) for pool in pools if pool.role is Role.AGG]


def _alike(pools: Sequence[PoolSpec], role: Role) -> list[list[PoolSpec]]:
    """The pools of a role, those together that speak and hold the same."""
    groups: dict[tuple[str, int], list[PoolSpec]] = {}
    for pool in pools:
        if pool.role is role:
            groups.setdefault((pool.dialect, pool.context_limit_tokens), []).append(pool)
    return list(groups.values())
