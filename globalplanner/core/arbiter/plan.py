"""The routing plan: what share of each class each pool gets, and where to turn next."""

from collections.abc import Mapping

import numpy as np

from globalplanner.core.arbiter.layout import Layout
from globalplanner.core.arbiter.snapshot import SharesByClass, SpillByClass
from weir.domain.fleet import Stage
from weir.domain.ids import ClassName, PoolId
from weir.sizing.basis import Floats, Indices

__all__ = ["differs", "shares_of"]

_DIGITS = 3
_NOTABLE = 0.02
_MANY = 32
"""Among more pools shares are smaller, and so are the changes that matter."""


def shares_of(
    layout: Layout, rate_rps: Floats, capacity_rps: Floats
) -> tuple[SharesByClass, SpillByClass]:
    """Shares by the rates that pools should get, shape (pools, classes); then the spill order.

    Pools of the stage: those with a share, largest first, then others by capacity.
    """
    shares: dict[ClassName, dict[Stage, dict[PoolId, float]]] = {}
    spill: dict[ClassName, dict[Stage, tuple[PoolId, ...]]] = {}
    for stage, decodes in ((Stage.PREFILL, False), (Stage.DECODE, True)):
        pools = np.flatnonzero(layout.decodes == decodes)
        ids = np.array(layout.ids, dtype=object)[pools]
        for c, name in enumerate(layout.names):
            found = _normal(rate_rps[pools, c])
            if found is None:
                continue
            at = np.flatnonzero(found)
            values = found[at].tolist()
            shares.setdefault(name, {})[stage] = dict(zip(ids[at].tolist(), values, strict=True))
            order = _spill(found, capacity_rps[pools, c])
            spill.setdefault(name, {})[stage] = tuple(ids[order].tolist())
    return shares, spill


def differs(shares: SharesByClass, others: SharesByClass) -> bool:
    """Whether a share has changed by a notable amount, or a pool has come or gone."""
    if shares.keys() != others.keys():
        return True
    return any(
        shares[name].keys() != others[name].keys()
        or any(_apart(shares[name][stage], others[name][stage]) for stage in shares[name])
        for name in shares
    )


def _apart(shares: Mapping[PoolId, float], others: Mapping[PoolId, float]) -> bool:
    if shares.keys() != others.keys():
        return True
    notable = _NOTABLE * min(1.0, _MANY / max(1, len(shares)))
    return any(abs(share - others[id]) >= notable for id, share in shares.items())


def _normal(rates: Floats) -> Floats | None:
    """Rounded shares that sum to 1; the largest takes what rounding leaves. None if none."""
    total = float(rates.sum())
    if total <= 0.0:
        return None
    digits = _DIGITS + (len(rates) > _MANY) + (len(rates) > _MANY**2 // 2)
    shares: Floats = np.round(rates / total, digits)
    largest = len(shares) - 1 - int(shares[::-1].argmax())
    shares[largest] = 0.0
    shares[largest] = round(1.0 - float(shares.sum()), digits)
    return shares


def _spill(shares: Floats, capacity: Floats) -> Indices:
    order: Indices = np.lexsort((-capacity, -shares))
    return order
