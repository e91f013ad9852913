"""What each pool has to carry when classes go to their homes."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from weir.domain.fleet import Fleet, PoolSpec
from weir.domain.ids import PoolId
from weir.domain.profile import EngineProfile
from weir.simulator.homes import Homes
from weir.simulator.oracle.curves import Bins, per_bin
from weir.simulator.oracle.offered import Offered
from weir.simulator.oracle.work import work_of

__all__ = ["home_needs"]

_Floats = NDArray[np.float64]


def home_needs(
    fleet: Fleet,
    homes: Homes,
    profiles: Mapping[PoolId, EngineProfile],
    offered: Offered,
    bins: Bins,
) -> dict[PoolId, _Floats]:
    """Replicas that each pool needs in each bin, at its true speed.

    A prompt is prefilled in the bin of its arrival; its output is spread evenly from then on,
    at the pace of a full batch. Several homes of a class share its work evenly.
    """
    return {spec.id: _need(fleet, homes, spec, profiles, offered, bins) for spec in fleet.pools}


def _need(
    fleet: Fleet,
    homes: Homes,
    spec: PoolSpec,
    profiles: Mapping[PoolId, EngineProfile],
    offered: Offered,
    bins: Bins,
) -> _Floats:
    replica_s = np.zeros(bins.count)
    shares = _shares(homes, spec.id)[offered.class_index]
    mine, shares = offered.take(shares > 0.0), shares[shares > 0.0]
    if not len(mine):
        return replica_s
    for stage in spec.role.stages:
        work = work_of(spec, profiles[spec.id], stage, mine, fleet.classes)
        replicas = np.where(np.isfinite(work.replica_s), shares * work.replica_s, 0.0)
        replica_s += per_bin(bins, mine.arrival_s, work.usual_s, replicas)
    return replica_s / bins.bin_s


def _shares(homes: Homes, pool_id: PoolId) -> _Floats:
    """By class: what part of its requests the pool gets."""
    by_class = zip(homes.prefill, homes.decode, strict=True)
    return np.array(
        [
            next((1.0 / len(pools) for pools in stages if pool_id in pools), 0.0)
            for stages in by_class
        ]
    )
