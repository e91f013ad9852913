"""Spread streams over pools so that all that can share the work are equally busy.

Pools of one model and role are a group: they share the stages of that model's streams. All groups
are levelled together, class after class, until hardly anything moves (Gauss-Seidel on the busiest
pool); from what the decision before found that takes few rounds.
"""

from dataclasses import dataclass

import numpy as np

from globalplanner.core.arbiter.layout import Layout
from weir.domain.fleet import Role
from weir.sizing.basis import Flags, Floats

__all__ = ["Groups", "Spread", "spread"]

_ROUNDS = 12
_ROUNDS_ON = 3
_LEVELS = 40
_IDLE_RATE_RPS = 1e-3
"""What a class without traffic counts as, to have a share at all."""
_NEGLIGIBLE = 1e-9
"""A smaller part of a stream is what rounding has left, and is lost in the next one."""
_ROLES = (Role.AGG, Role.PREFILL, Role.DECODE)


class Groups:
    """Where pools are: shape (groups, pools of one); `pool` is one past the last for none."""

    def __init__(self, layout: Layout) -> None:
        role = np.array([_ROLES.index(each) for each in layout.roles], dtype=np.intp)
        members: dict[tuple[int, int], list[int]] = {}
        for i, key in enumerate(zip(layout.model.tolist(), role.tolist(), strict=True)):
            members.setdefault(key, []).append(i)
        keys = sorted(members)
        self.model = np.array([model for model, _ in keys], dtype=np.intp)
        self.role = np.array([role for _, role in keys], dtype=np.intp)
        width = max((len(found) for found in members.values()), default=1)
        self.pool = np.full((len(keys), width), len(layout.ids), dtype=np.intp)
        for row, key in enumerate(keys):
            self.pool[row, : len(members[key])] = members[key]
        self.mixed = len({role for _, role in keys}) > 1 and any(
            role == 0 and (model, 1) in members for model, role in keys
        )
        """Whether aggregated pools and others share streams."""
        self.real = self.pool < len(layout.ids)
        self.models = len(layout.models)

    def by_model(self, of_group: Floats, role: int) -> Floats:
        """Sums by model of what groups of one role have."""
        result = np.zeros((self.models, *of_group.shape[1:]))
        at = self.role == role
        result[self.model[at]] = of_group[at]
        return result


@dataclass(frozen=True, slots=True)
class Spread:
    """Requests/s by pool and class; `busy`: replicas that they keep busy, by pool."""

    rate_rps: Floats
    busy: Floats


def spread(
    groups: Groups,
    capacity_rps: Floats,
    rate_rps: Floats,
    replicas: Floats,
    whole: Floats,
    before: Floats | None = None,
) -> Spread:
    """Where all streams should go, what exceeds the capacity included.

    `whole`, shape (models, classes): the part of each stream that aggregated pools take where
    there are prefill and decode pools too; not a number where that is not known. A stream that no
    pool can serve within SLO goes wherever there are replicas of its model. `before`: rates by
    pool and class to begin from.
    """
    pools, classes = capacity_rps.shape
    each = _each(groups, capacity_rps, replicas)
    count = np.append(np.maximum(replicas, 1.0), 1.0)[groups.pool]
    strength = each * count[:, :, None]
    part = _parts(groups, strength.sum(axis=1), whole)
    rate = np.maximum(rate_rps, _IDLE_RATE_RPS)[groups.model] * part
    rate[part <= _NEGLIGIBLE] = 0.0
    able = each > 0.0
    cost = np.divide(1.0, each, out=np.zeros_like(each), where=able)
    rates = _start(groups, able, strength, rate, before)
    busy = (rates * cost).sum(axis=2)
    for _ in range(_ROUNDS if before is None else _ROUNDS_ON):
        for c in range(classes):
            busy -= rates[:, :, c] * cost[:, :, c]
            rates[:, :, c] = _levelled(busy / count, strength[:, :, c], rate[:, c])
            busy += rates[:, :, c] * cost[:, :, c]
    result, of_pool = np.zeros((pools + 1, classes)), np.zeros(pools + 1)
    result[groups.pool] = rates
    of_pool[groups.pool] = busy
    return Spread(result[:-1], of_pool[:-1])


def _each(groups: Groups, capacity_rps: Floats, replicas: Floats) -> Floats:
    """Requests/s of one replica. Those that run come first, then those that are able."""
    each = np.append(capacity_rps, np.zeros((1, capacity_rps.shape[1])), axis=0)[groups.pool]
    runs: Flags = np.append(replicas > 0.0, False)[groups.pool] & groups.real
    some = np.logical_or.reduce(runs, axis=1)
    runs = np.where(some[:, None], runs, groups.real)
    each = np.where(runs[:, :, None], each, 0.0)
    able: Flags = each > 0.0
    nobody = np.logical_not(able.any(axis=1))
    result: Floats = np.where(nobody[:, None, :] & runs[:, :, None], 1.0, each)
    return result


def _parts(groups: Groups, strength: Floats, whole: Floats) -> Floats:
    """The part of each stream that each group takes, shape (groups, classes)."""
    agg, prefill, decode = (groups.by_model(strength, role) for role in range(len(_ROLES)))
    pair = np.minimum(prefill, decode)
    has, paired = agg > 0.0, pair > 0.0
    by_strength = np.divide(agg, agg + pair, out=np.zeros_like(agg), where=has)
    share = np.where(np.isnan(whole), by_strength, whole)
    share = np.where(has & paired, share, np.where(has, 1.0, 0.0))
    rest = np.where(paired, 1.0 - share, 0.0)
    result: Floats = np.where((groups.role == 0)[:, None], share[groups.model], rest[groups.model])
    return result


def _start(
    groups: Groups, able: Flags, strength: Floats, rate: Floats, before: Floats | None
) -> Floats:
    """As the decision before has it, or nothing."""
    if before is None:
        return np.zeros_like(strength)
    rates = np.append(before, np.zeros((1, before.shape[1])), axis=0)[groups.pool] * able
    total = rates.sum(axis=1)
    scale = np.divide(rate, total, out=np.zeros_like(rate), where=total > 0.0)
    result: Floats = rates * scale[:, None, :]
    return result


def _levelled(base: Floats, strength: Floats, rate: Floats) -> Floats:
    """Fill the least busy pools of each group first, up to one common level.

    The level falls from where all take part to where none is above it (Newton's method on a
    convex function: it ends after at most as many steps as there are pools).
    """
    weighted = strength * base
    taking = strength > 0.0
    sums, totals = strength.sum(axis=1), weighted.sum(axis=1)
    level = np.zeros(len(base))
    for _ in range(_LEVELS):
        np.divide(rate + totals, sums, out=level, where=sums > 0.0)
        fewer = taking & (base < level[:, None])
        if (fewer == taking).all():
            break
        taking = fewer
        sums, totals = (strength * taking).sum(axis=1), (weighted * taking).sum(axis=1)
    result: Floats = np.maximum(level[:, None] - base, 0.0) * strength * taking
    return result
