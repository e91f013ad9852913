"""GPU-hours below which no policy can go, wherever it sends its requests.

Pools that can stand in for each other are one group: all that prefill, all that decode, or all
pools together if aggregated ones are among them. Each stage of a request costs the group the
fewest GPU seconds that any of its pools would need; a pool's GPUs are worth as much as they
ever are against that. The minimum of every pool is held; beyond it the group takes the GPUs of
the best pools first, in steps that any combination of its replicas consists of.

Work may wait as long as its targets allow: the need is the least demanding way to do it in time
(`smooth`). At the beginning of the window all is done that could have been, at its end what
must be.
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
from weir.simulator.oracle.cheapest import cheapest, start_bins
from weir.simulator.oracle.curves import Bins, done_by
from weir.simulator.oracle.levels import Levels
from weir.simulator.oracle.offered import Offered
from weir.simulator.oracle.smooth import tight_string
from weir.simulator.oracle.work import Work, work_of

__all__ = ["gpu_hours_bound"]

_Floats = NDArray[np.float64]
_Group = tuple[PoolSpec, ...]


def gpu_hours_bound(
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
        _group_bound(group, fleet.classes, profiles, offered, bins, cover)
        for group in _groups([pool for pool in fleet.pools if pool.model == model])
    )


def _groups(pools: Sequence[PoolSpec]) -> Iterator[_Group]:
    mixed = any(pool.role is Role.AGG for pool in pools)
    for role in (None,) if mixed else (Role.PREFILL, Role.DECODE):
        if group := tuple(pool for pool in pools if role in (None, pool.role)):
            yield group


def _group_bound(
    group: _Group,
    classes: Sequence[RequestClass],
    profiles: Mapping[PoolId, EngineProfile],
    offered: Offered,
    bins: Bins,
    cover: float,
) -> float:
    unit_gpus = reduce(math.gcd, (pool.gpus_per_replica for pool in group))
    demand = _demand(group, classes, profiles, offered, bins)
    need = demand.gpu_s / (unit_gpus * bins.bin_s)
    held = [(demand.worth[p.id], _units(p, p.min_replicas, unit_gpus)) for p in group]
    more = [
        (demand.worth[p.id], _units(p, p.max_replicas - p.min_replicas, unit_gpus)) for p in group
    ]
    base = sum(worth * count for worth, count in held)
    widths = np.concatenate([np.full(count, worth) for worth, count in sorted(more, reverse=True)])
    start_up_s = min(pool.start_up_s for pool in group)
    start = start_bins(bins.count, bin_s=bins.bin_s, start_up_s=start_up_s)
    levels = Levels.above(need, base, widths, start)
    target = min(cover * need.sum() - np.minimum(need, base).sum(), levels.work)
    _, least = cheapest(levels, float(target))
    units = least + bins.count * sum(count for _, count in held)
    return units * unit_gpus * bins.bin_s / 3600.0


def _units(pool: PoolSpec, replicas: int, unit_gpus: int) -> int:
    return replicas * pool.gpus_per_replica // unit_gpus


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Demand:
    """`gpu_s` by bin, of the best pool's GPUs; `worth` of a pool's GPU against them, 0..1."""

    gpu_s: _Floats
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
        best = _best([work for _, work in works.values()])
        gpu_s = np.min([_gpu_s(*each) for each in works.values()], axis=0)
        for pool_id, each in works.items():
            worth[pool_id] = max(worth[pool_id], _worth(gpu_s, _gpu_s(*each)))
        gpu_s[~np.isfinite(gpu_s)] = 0.0
        most += done_by(bins, offered.arrival_s, best.quickest_s, gpu_s)
        least += done_by(bins, offered.arrival_s + best.slack_s, best.quickest_s, gpu_s)
    rate = np.diff(tight_string(np.minimum(least, most), most))
    return _Demand(gpu_s=np.maximum(0.0, rate), worth=worth)


def _gpu_s(pool: PoolSpec, work: Work) -> _Floats:
    return pool.gpus_per_replica * work.replica_s


def _best(works: Sequence[Work]) -> Work:
    """What the quickest pool for each request would do."""
    return Work(
        replica_s=np.min([work.replica_s for work in works], axis=0),
        quickest_s=np.min([work.quickest_s for work in works], axis=0),
        usual_s=np.min([work.usual_s for work in works], axis=0),
        slack_s=np.max([work.slack_s for work in works], axis=0),
    )


def _worth(best_s: _Floats, own_s: _Floats) -> float:
    able = np.isfinite(own_s) & (own_s > 0.0)
    return float((best_s[able] / own_s[able]).max(initial=0.0))
