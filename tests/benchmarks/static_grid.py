"""A grid for a Dynamo GlobalRouter, written with care for one fleet and what it is offered.

What requests of different classes differ in by their TTFT target finds the prefill pool by that:
each column is for the class with the nearest target. Otherwise prompts are cut by length so that
every pool gets the part of the prompt tokens that its replicas are of all. The decode pool is
found by length in any case, as ITL targets of classes with one target say nothing: cut so that
every pool gets its part of the output tokens.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weir.domain.fleet import PoolSpec, Role
from weir.domain.grid import Grid
from weir.domain.ids import PoolId
from weir.fleet.dynamo_grid_file import parse_grid
from weir.simulator.homes import homes_of
from weir.simulator.scenario import Scenario

__all__ = ["gridded", "grid_json"]

_ROWS, _COLUMNS = 4096, 64
_LONGEST = 99.9
"""Percentile of the prompt lengths at which the axis ends; longer ones count as on its edge."""


def gridded(scenario: Scenario) -> Scenario:
    """The same with routers that go by such a grid. Of a fleet of prefill and decode pools."""
    return replace(scenario, grid=_grid(scenario))


def _grid(scenario: Scenario) -> Grid:
    file = parse_grid(json.dumps(grid_json(scenario)))
    return file.grid(lambda name, _: PoolId(name), None, None)


def grid_json(scenario: Scenario) -> dict[str, Any]:
    """The file that `weir router --dynamo-config` takes."""
    columns, pools = scenario.columns, scenario.fleet.pools
    heads = [pool for pool in pools if pool.role is Role.PREFILL]
    tails = [pool for pool in pools if pool.role is Role.DECODE]
    isl = columns.isl_tokens
    end = float(np.ceil(np.percentile(isl, _LONGEST)))
    head_rows = _by_length(isl, isl, end, _parts(heads))
    tail_rows = _by_length(isl, columns.osl_tokens, end, _parts(tails))
    targets = [c.slo.ttft_s * 1e3 for c in scenario.fleet.classes]
    least, most = 0.5 * min(targets), 1.5 * max(targets)
    by_target = _by_target(scenario, heads, least, most)
    mapping = [by_target] if by_target else [[row] for row in head_rows]
    return {
        "num_prefill_pools": len(heads),
        "num_decode_pools": len(tails),
        "prefill_pool_dynamo_namespaces": [pool.id for pool in heads],
        "decode_pool_dynamo_namespaces": [pool.id for pool in tails],
        "prefill_pool_selection_strategy": {
            "isl_min": 0,
            "isl_max": end,
            "isl_resolution": len(mapping),
            "ttft_min_ms": least,
            "ttft_max_ms": most,
            "ttft_resolution": len(mapping[0]),
            "prefill_pool_mapping": mapping,
        },
        "decode_pool_selection_strategy": {
            "context_length_min": 0,
            "context_length_max": end,
            "context_length_resolution": _ROWS,
            "itl_min_ms": 0,
            "itl_max_ms": 1000,
            "itl_resolution": 1,
            "decode_pool_mapping": [[row] for row in tail_rows],
        },
    }


def _parts(pools: Sequence[PoolSpec]) -> list[float]:
    """Each pool's part of the replicas of all."""
    total = sum(pool.max_replicas for pool in pools)
    return [pool.max_replicas / total for pool in pools]


def _by_length(
    isl: NDArray[np.int64], work: NDArray[np.int64], end: float, parts: Sequence[float]
) -> list[int]:
    """By row of the length axis: the pool, the first ones for the short prompts."""
    rows = np.minimum((isl / (end / _ROWS)).astype(int), _ROWS - 1)
    of_row = np.bincount(rows, weights=work, minlength=_ROWS) / work.sum()
    middles = np.cumsum(of_row) - 0.5 * of_row
    edges = np.cumsum(parts)[:-1]
    return [int(pool) for pool in np.searchsorted(edges, middles)]


def _by_target(
    scenario: Scenario, heads: Sequence[PoolSpec], least: float, most: float
) -> list[int] | None:
    """By column of the TTFT axis: the home of the class with the nearest target."""
    fleet = scenario.fleet
    targets = np.array([c.slo.ttft_s * 1e3 for c in fleet.classes])
    if len(set(targets)) < len(targets):
        return None
    homes = homes_of(fleet, fleet.models[0].name).prefill
    number: Mapping[PoolId, int] = {pool.id: index for index, pool in enumerate(heads)}
    middles = least + (np.arange(_COLUMNS) + 0.5) * (most - least) / _COLUMNS
    nearest = np.abs(middles[:, None] - targets[None, :]).argmin(axis=1)
    return [number[homes[index][0]] for index in nearest]
