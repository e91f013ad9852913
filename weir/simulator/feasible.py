"""Which calls an idle fleet, as fast as it really is, could serve within their TTFT target."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from weir.domain.fleet import Fleet
from weir.domain.ids import PoolId
from weir.domain.profile import EngineProfile
from weir.fleet.feasible import Route, routes
from weir.workload.columns import TraceColumns

__all__ = ["feasible_calls"]


def feasible_calls(
    fleet: Fleet,
    profiles: Mapping[PoolId, EngineProfile],
    columns: TraceColumns,
    class_index: NDArray[np.intp],
) -> NDArray[np.bool_]:
    """By call. `profiles` are the true ones; noise among replicas is not looked at."""
    true_fleet = replace(
        fleet, pools=tuple(replace(pool, profile=profiles[pool.id]) for pool in fleet.pools)
    )
    isl, osl = columns.isl_tokens, columns.osl_tokens
    possible = np.zeros(len(columns), bool)
    for route in routes(true_fleet, fleet.models[0].name):
        limits = np.array([_longest_prompt(route, c.slo.ttft_s) for c in fleet.classes])
        possible |= (isl <= limits[class_index]) & _holds(route, isl, osl)
    return possible


def _holds(route: Route, isl: NDArray[np.int64], osl: NDArray[np.int64]) -> NDArray[np.bool_]:
    slack = route.longest_prompt(1)
    fits: NDArray[np.bool_] = isl <= np.minimum(slack, route.decode.context_limit_tokens - osl)
    return fits


def _longest_prompt(route: Route, ttft_s: float) -> int:
    """The longest prompt whose first token an idle route has in time; found by halving."""
    low, high = 0, max(0, route.longest_prompt(1))
    while low < high:
        middle = (low + high + 1) // 2
        if route.idle_ttft_s(middle) <= ttft_s:
            low = middle
        else:
            high = middle - 1
    return low
