"""How many replicas each pool should run, and what share of each class it gets.

Pure and deterministic; the order of pools and classes does not matter. The steps:

1. Without knowledge of the offered load nothing changes (only limits are kept): B7.
2. Growth is immediate: what is there is added to where it is worth most, per GPU, until no
   demand is left unserved. So constant demand leads to a fixed point (B4).
3. If the limits forbid it, the allocation is worked out afresh: floors first, then guarantees,
   then by value. Pools that serve less with the same GPUs give up at once what is asked for, but
   for pools of which nobody knows what is queued: these give up nothing (B7).
4. What has not been needed for the dwell time goes.
"""

from collections.abc import Mapping
from dataclasses import replace

from globalplanner.core.demand import backlog_replicas, goodput_of
from globalplanner.core.grow import blocked, grow, improve
from globalplanner.core.plan import shares_of
from globalplanner.core.reasons import explain, explain_hold
from globalplanner.core.shrink import settle_lulls, trimmed
from globalplanner.core.snapshot import Decision, Memory, Rules, Snapshot, Step
from globalplanner.core.space import Allocation, Space
from weir.domain.ids import PoolId

__all__ = ["arbitrate"]

_WORTH_A_MOVE = 0.05
"""GPUs change hands only for this much more value, as a share."""


def arbitrate(snapshot: Snapshot, rules: Rules, memory: Memory) -> Decision:
    """Decide on `snapshot`; `memory` comes from the decision before, empty at first."""
    if snapshot.loads is None:
        return _hold(snapshot, rules, memory)
    now_s = snapshot.now_s
    space = _space(snapshot, rules)
    present = space.present()
    grown = _grown(space, present)
    if space.goodput.backlog and grown != present:
        grown = _grown(_trusting(space, snapshot, rules, memory, present), present)
    replicas, lulls = settle_lulls(space, grown, memory.lulls, now_s, rules)
    shares, spill = shares_of(space, snapshot, replicas)
    return Decision(
        replicas=replicas,
        reasons=explain(space, snapshot, rules, replicas, lulls),
        memory=Memory(lulls=lulls, steps=_steps(space, present, replicas, memory, now_s, rules)),
        shares=shares,
        spill=spill,
    )


def _hold(snapshot: Snapshot, rules: Rules, memory: Memory) -> Decision:
    """Lulls end: what is unknown is no evidence that less is needed."""
    space = _space(snapshot, rules)
    replicas = trimmed(space, space.present())
    return Decision(
        replicas=replicas,
        reasons=explain_hold(space, replicas, snapshot.holding),
        memory=Memory(steps=memory.steps),
        holding=snapshot.holding,
    )


def _space(
    snapshot: Snapshot, rules: Rules, most_backlog: Mapping[PoolId, float] | None = None
) -> Space:
    goodput = goodput_of(snapshot, rules, most_backlog or {})
    return Space(goodput, snapshot.pools, snapshot.limits)


def _trusting(
    space: Space, snapshot: Snapshot, rules: Rules, memory: Memory, present: Allocation
) -> Space:
    """Queued work counts less a replica for each that was added lately, or is now for the rate.

    So a step is sized from the backlog once, and not again while its replicas start and catch
    up. What the replicas there are can catch up on counts anyhow: they keep their worth.
    """
    by_rate = _grown(_space(_without_backlog(snapshot), rules), present)
    caught_up = space.served(present).catching_up
    most = {}
    for id, view in space.views.items():
        added = memory.trusted(id, snapshot.now_s) + max(0, by_rate[id] - present[id])
        most[id] = max(backlog_replicas(view, rules) - added, caught_up.get(id, 0.0))
    return _space(snapshot, rules, most)


def _without_backlog(snapshot: Snapshot) -> Snapshot:
    return replace(
        snapshot, pools=tuple(replace(view, backlog_replica_s=0.0) for view in snapshot.pools)
    )


def _steps(
    space: Space,
    present: Allocation,
    replicas: Allocation,
    memory: Memory,
    now_s: float,
    rules: Rules,
) -> dict[PoolId, tuple[Step, ...]]:
    """Steps still trusted, and those of this decision. A pool that shrinks trusts none."""
    steps = {}
    for id, count in replicas.items():
        kept = [step for step in memory.steps.get(id, ()) if step.until_s > now_s]
        if count > present[id]:
            reach_s = space.views[id].spec.start_up_s + rules.backlog_horizon_s
            kept.append(Step(replicas=count - present[id], until_s=now_s + reach_s))
        if kept and count >= present[id]:
            steps[id] = tuple(kept)
    return steps


def _grown(space: Space, present: Allocation) -> Allocation:
    """`present` with what is missing; GPUs change hands if the limits leave no other way."""
    grown = grow(space, present)
    if space.fits(grown) and not blocked(space, grown):
        return grown
    least = trimmed(space, space.minimum(), of=space.movable)
    afresh = _least_change(space, improve(space, grow(space, least)), present)
    if space.fits(grown) and not _better(space, afresh, grown, present):
        return grown
    return afresh


def _better(space: Space, afresh: Allocation, grown: Allocation, present: Allocation) -> bool:
    """Whether more demand within guarantees is served or, with as much, more in all.

    By a margin, if somebody has to give something up for it.
    """
    guaranteed = space.value(space.guaranteed(afresh)) - space.value(space.guaranteed(grown))
    if abs(guaranteed) > space.negligible:
        return guaranteed > 0.0
    takes = any(afresh[pool_id] < count for pool_id, count in present.items())
    margin = _WORTH_A_MOVE * space.value(grown) if takes else 0.0
    return space.value(afresh) > space.value(grown) + margin + space.negligible


def _least_change(space: Space, afresh: Allocation, present: Allocation) -> Allocation:
    """`afresh`, but pools keep what they have as long as there is room for it."""
    replicas = dict(afresh)
    for pool_id in sorted(replicas):
        while replicas[pool_id] < present[pool_id]:
            kept = {**replicas, pool_id: replicas[pool_id] + 1}
            if not space.fits(kept):
                break
            replicas = kept
    return replicas
