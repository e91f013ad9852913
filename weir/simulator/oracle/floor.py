"""GPU-hours below which no policy can go, wherever it sends its requests.

Pools that can stand in for each other are one group: all that prefill, all that decode, or all
pools together if aggregated ones are among them. Each stage of a request costs the group the
fewest GPU seconds that any of its pools would need; a pool's GPUs are worth as much as they
ever are against that. The minimum of every pool is held; beyond it the group takes the GPUs of
the best pools first, in steps that any combination of its replicas consists of.

A request's work begins at its arrival or later, goes on no faster than on an idle replica, is
not interrupted, and ends in time for its targets. That is the corridor in which the group has
to work (`backlog`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from weir.domain.fleet import Fleet, PoolSpec, RequestClass, Role, Stage
from weir.domain.ids import PoolId
from weir.domain.profile import EngineProfile
from weir.simulator.oracle.backlog import Corridor, least_by_backlog, least_by_work
from weir.simulator.oracle.curves import Bins, done_by
from weir.simulator.oracle.offered import Offered
from weir.simulator.oracle.work import Work, work_of

__all__ = ["gpu_hours_floor"]

_Floats = NDArray[np.float64]
_Group = tuple[PoolSpec, ...]


def gpu_hours_floor(
    fleet: Fleet,
    profiles: Mapping[PoolId, EngineProfile],
    offered: Offered,
    bins: Bins,
    *,
    cover: float,
) -> float:
    """GPU-hours that cover `cover` of the work of all groups within the bins, at least."""
    model = fleet.models[0].name
    others = (pool for pool in fleet.pools if pool.model != model)
    idle_gpus = sum(pool.min_replicas * pool.gpus_per_replica for pool in others)
    return idle_gpus * bins.count * bins.bin_s / 3600.0 + sum(
        _group_floor(group, fleet.classes, profiles, offered, bins, cover)
        for group in _groups([pool for pool in fleet.pools if pool.model == model])
    )


def _groups(pools: Sequence[PoolSpec]) -> Iterator[_Group]:
    mixed = any(pool.role is Role.AGG for pool in pools)
    for role in (None,) if mixed else (Role.PREFILL, Role.DECODE):
        if group := tuple(pool for pool in pools if role in (None, pool.role)):
            yield group


def _group_floor(
    group: _Group,
    classes: Sequence[RequestClass],
    profiles: Mapping[PoolId, EngineProfile],
    offered: Offered,
    bins: Bins,
    cover: float,
) -> float:
    demand = _demand(group, classes, profiles, offered, bins)
    unit_gpus = reduce(math.gcd, (pool.gpus_per_replica for pool in group))
    unit_s = unit_gpus * bins.bin_s
    corridor = Corridor(least=demand.least / unit_s, most=demand.most / unit_s)
    capacity = _capacity(group, demand.worth, unit_gpus)
    start_up = min(pool.start_up_s for pool in group) / bins.bin_s
    more = max(
        least_by_work(corridor, capacity, cover),
        least_by_backlog(corridor, capacity, start_up=start_up, cover=cover),
    )
    held = sum(_units(pool, pool.min_replicas, unit_gpus) for pool in group)
    return (more + bins.count * held) * unit_s / 3600.0


def _capacity(group: _Group, worth: Mapping[PoolId, float], unit_gpus: int) -> _Floats:
    """What the minimums and n units more do, by n: those of the best pools first."""
    base = sum(worth[pool.id] * _units(pool, pool.min_replicas, unit_gpus) for pool in group)
    widths = [
        np.full(_units(pool, pool.max_replicas - pool.min_replicas, unit_gpus), worth[pool.id])
        for pool in sorted(group, key=lambda pool: -worth[pool.id])
        if worth[pool.id] > 0.0
    ]
    return base + np.cumsum(np.concatenate([[0.0], *widths]))


def _units(pool: PoolSpec, replicas: int, unit_gpus: int) -> int:
    return replicas * pool.gpus_per_replica // unit_gpus


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Demand:
    """GPU seconds of the best pools, by edge of the bins: what must and what can be done by then.

    `worth` of a pool's GPU against the best: 0..1.
    """

    least: _Floats
    most: _Floats
    worth: Mapping[PoolId, float]


def _demand(
    group: _Group,
    classes: Sequence[RequestClass],
    profiles: Mapping[PoolId, EngineProfile],
    offered: Offered,
    bins: Bins,
) -> _Demand:
    least, most = np.zeros(bins.count + 1), np.zeros(bins.count + 1)
    worth = {pool.id: 0.0 for pool in group}
    for stage in Stage:
        works = {
            pool.id: (pool, work_of(pool, profiles[pool.id], stage, offered, classes))
            for pool in group
            if stage in pool.role.stages and pool.max_replicas > 0
        }
        if not works or not len(offered):
            continue
        gpu_s = np.min([_gpu_s(*each) for each in works.values()], axis=0)
        for pool_id, each in works.items():
            worth[pool_id] = max(worth[pool_id], _worth(gpu_s, _gpu_s(*each)))
        gpu_s[~np.isfinite(gpu_s)] = 0.0
        quickest_s = np.min([work.quickest_s for _, work in works.values()], axis=0)
        late_s = np.max([work.late_s for _, work in works.values()], axis=0)
        slowest_s = np.max([work.slowest_s for _, work in works.values()], axis=0)
        most += done_by(bins, offered.arrival_s, quickest_s, gpu_s)
        least += done_by(bins, offered.arrival_s + late_s, slowest_s, gpu_s)
    return _Demand(least=np.minimum(least, most), most=most, worth=worth)


def _gpu_s(pool: PoolSpec, work: Work) -> _Floats:
    return pool.gpus_per_replica * work.replica_s


def _worth(best_s: _Floats, own_s: _Floats) -> float:
    able = np.isfinite(own_s) & (own_s > 0.0)
    return float((best_s[able] / own_s[able]).max(initial=0.0))
