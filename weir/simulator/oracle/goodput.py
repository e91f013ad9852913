"""Weighted goodput above which no allocation and no routing can bring a fleet.

Each bin is for itself, and fluid: replicas are divisible and move at no cost, do what they can do
at most within the targets at their true speeds, and nothing queues. Budget, GPU classes, node
groups, minimums and maximums hold. A linear program says which part of each class is then served,
and where, so that the sum of weights is largest. Requests of a class are alike in it: who served
only its short ones could do better. Nothing is carried from one bin to the next.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from globalplanner.core.budget.limits import limits_of
from weir.domain.fleet import Fleet, PoolSpec, Role
from weir.domain.ids import PoolId
from weir.domain.profile import EngineProfile
from weir.simulator.oracle.curves import Bins
from weir.simulator.oracle.offered import Offered
from weir.simulator.oracle.work import work_of

__all__ = ["goodput_bound_rps"]

_Floats = NDArray[np.float64]


def goodput_bound_rps(
    fleet: Fleet, profiles: Mapping[PoolId, EngineProfile], offered: Offered, bins: Bins
) -> _Floats:
    """By bin, of the requests that arrive in it: their weights per second.

    `profiles` are the true ones. Raises `ValueError` if the minimums do not fit the limits.
    """
    bin_index = np.floor((offered.arrival_s - bins.start_s) / bins.bin_s).astype(np.intp)
    inside = (bin_index >= 0) & (bin_index < bins.count)
    offered, classes = offered.take(inside), len(fleet.classes)
    group = bin_index[inside] * classes + offered.class_index
    shape = (bins.count, classes)
    rate_rps = np.bincount(group, minlength=bins.count * classes).reshape(shape) / bins.bin_s
    pools = [p for p in fleet.pools if p.model == fleet.models[0].name and p.max_replicas > 0]
    work_s = [
        _mean_work_s(fleet, spec, profiles[spec.id], offered, group, bins.count * classes)
        for spec in pools
    ]
    by_bin = np.array(work_s).reshape(len(pools), *shape).swapaxes(0, 1)
    return np.array([_most(fleet, pools, *each) for each in zip(rate_rps, by_bin, strict=True)])


def _mean_work_s(
    fleet: Fleet,
    spec: PoolSpec,
    profile: EngineProfile,
    offered: Offered,
    group: NDArray[np.intp],
    groups: int,
) -> _Floats:
    """By group: replica seconds of a request, in the mean of those that the pool can take.

    Infinite where it can take none.
    """
    stages = (work_of(spec, profile, s, offered, fleet.classes) for s in spec.role.stages)
    work_s = np.sum([work.replica_s for work in stages], axis=0)
    able = np.isfinite(work_s)
    total_s = np.bincount(group[able], work_s[able], groups)
    count = np.bincount(group[able], minlength=groups)
    mean_s = np.full(groups, np.inf)
    np.divide(total_s, count, out=mean_s, where=count > 0)
    return mean_s


def _most(fleet: Fleet, pools: Sequence[PoolSpec], rate_rps: _Floats, work_s: _Floats) -> float:
    """The linear program of one bin; `work_s`, shape (pools, classes), is that of a request.

    Its columns are the flows (requests/s of a class through a pool) and the replicas by pool.
    """
    flows = np.argwhere(np.isfinite(work_s) & (rate_rps > 0.0))
    starts = np.array([spec.role is not Role.DECODE for spec in pools])[flows[:, 0]]
    weights = np.array([item.weight for item in fleet.classes])[flows[:, 1]]
    rows, limits = zip(*_rows(fleet, pools, flows, rate_rps, work_s), strict=True)
    bounds: list[tuple[float, float | None]] = [(0.0, None)] * len(flows)
    bounds += [(float(spec.min_replicas), float(spec.max_replicas)) for spec in pools]
    value = np.concatenate((np.where(starts, weights, 0.0), np.zeros(len(pools))))
    solution = linprog(-value, np.array(rows), np.array(limits), bounds=bounds, method="highs")
    if not solution.success:
        raise ValueError(f"{fleet.name}: no allocation fits all limits: {solution.message}")
    return max(0.0, -float(solution.fun))


def _rows(
    fleet: Fleet,
    pools: Sequence[PoolSpec],
    flows: NDArray[np.intp],
    rate_rps: _Floats,
    work_s: _Floats,
) -> Iterator[tuple[_Floats, float]]:
    """Each `row @ columns <= limit`."""
    pool, item = flows[:, 0], flows[:, 1]
    none = np.zeros(len(pools))
    roles = np.array([spec.role.value for spec in pools])[pool]
    dialects = np.array([spec.dialect for spec in pools])[pool]
    for index, rate in enumerate(rate_rps.tolist()):
        mine = item == index
        yield np.concatenate((mine & (roles != Role.DECODE), none)), rate
        for dialect in sorted(set(dialects[mine & (roles != Role.AGG)].tolist())):
            chain = mine & (dialects == dialect)
            behind = 1.0 * (chain & (roles == Role.PREFILL)) - (chain & (roles == Role.DECODE))
            yield np.concatenate((behind, none)), 0.0
    for index in range(len(pools)):
        busy = np.where(pool == index, work_s[pool, item], 0.0)
        yield np.concatenate((busy, -1.0 * (np.arange(len(pools)) == index))), 0.0
    for limit in limits_of(fleet):
        each = [limit.used({spec.id: spec.gpus_per_replica}) for spec in pools]
        held = limit.used(
            {
                other.id: other.min_replicas * other.gpus_per_replica
                for other in fleet.pools
                if other not in pools
            }
        )
        yield np.concatenate((np.zeros(len(flows)), each)), float(limit.most - held)
