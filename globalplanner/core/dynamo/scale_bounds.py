"""What a scale request can never come to, and what it may not give back."""

import math
from collections.abc import Collection, Mapping

from globalplanner.core.budget.limits import Limit, limits_of
from weir.domain.fleet import Fleet, PoolSpec
from weir.domain.ids import PoolId

__all__ = ["impossible", "takes_too_much"]


def impossible(asked: Mapping[PoolId, int], decided: Mapping[PoolId, int], fleet: Fleet) -> str:
    """Why `asked` can never be granted, and the most that could; empty if it can.

    Pools must keep their minimum. What is to grow must be within its maximum and fit beside what
    is set aside for all others; a shrink is welcome however much is left.
    """
    growing = {id: count for id, count in asked.items() if count > decided.get(id, 0)}
    specs = {pool.id: pool for pool in fleet.pools}
    for pool_id, replicas in sorted(asked.items()):
        spec = specs[pool_id]
        if replicas < spec.min_replicas:
            return f"{pool_id} keeps at least {spec.min_replicas} replicas"
        if pool_id in growing and replicas > spec.most_replicas:
            most = min(
                (_most(pool_id, limit, specs) for limit in _over(pool_id, fleet)),
                default=spec.most_replicas,
            )
            return f"{pool_id} can have at most {min(most, spec.most_replicas)} replicas"
    for limit in limits_of(fleet):
        ours = sorted(limit.pools & growing.keys())
        needed = {id: _aside_gpus(specs[id], growing.get(id, 0)) for id in limit.pools}
        if ours and not limit.holds(needed):
            parts = " and ".join(f"{id} {max(0, _most(id, limit, specs))}" for id in ours)
            return (
                f"{limit.name} holds {limit.most} {limit.unit}; beside what is set aside for the "
                f"others there is room for at most {parts}"
            )
    return ""


def takes_too_much(
    asked: Mapping[PoolId, int],
    decided: Mapping[PoolId, int],
    wishes: Mapping[PoolId, int],
    fleet: Fleet,
    *,
    stuck: Collection[PoolId] = (),
) -> str:
    """Why `asked` would leave fewer GPUs in use than the fleet's floor, and what could be.

    Empty if it may be.

    What counts is what the fleet comes to once all wishes are granted as far as the limits let
    them, so a shrink passes if somebody waits for its GPUs. A move both up and down may end below
    the floor by its largest replica, since replicas differ in size. Below the floor whatever does
    not lead further down is allowed. `stuck` pools stay as they are for now, whatever is wished.
    """
    least = fleet.dynamo.min_total_gpus
    if least is None:
        return ""
    floor = min(least, fleet.budget.gpus)
    fixed = {id: decided.get(id, 0) for id in stuck}
    without = _settled(decided, {**wishes, **fixed}, fleet)
    after = _settled(decided, {**wishes, **asked, **fixed}, fleet)
    sizes = {pool.id: pool.gpus_per_replica for pool in fleet.pools}
    total, before = _gpus(after, sizes), _gpus(without, sizes)
    moved = {id: count - without[id] for id, count in after.items() if count != without[id]}
    paired = any(more > 0 for more in moved.values()) and any(less < 0 for less in moved.values())
    tolerance = max(sizes[id] for id in moved) if paired else 0
    if total >= floor - tolerance or total >= before:
        return ""
    why = f"would leave {total} GPUs in use, min_total_gpus is {least}"
    if len(asked) > 1:
        return why
    ((pool_id, replicas),) = asked.items()
    could = replicas + math.ceil((min(floor, before) - total) / sizes[pool_id])
    return f"{why}; {pool_id} could go to {could}"


def _over(pool_id: PoolId, fleet: Fleet) -> list[Limit]:
    return [limit for limit in limits_of(fleet) if pool_id in limit.pools]


def _most(pool_id: PoolId, limit: Limit, specs: Mapping[PoolId, PoolSpec]) -> int:
    """Replicas of the pool beside what is set aside for all others under the limit."""
    others = {id: _aside_gpus(specs[id], 0) for id in limit.pools if id != pool_id}
    each = specs[pool_id].gpus_per_replica * limit.per_gpu(pool_id)
    return (limit.most - limit.used(others)) // each


def _aside_gpus(spec: PoolSpec, replicas: int) -> int:
    return max(replicas, spec.min_replicas, spec.aside_replicas) * spec.gpus_per_replica


def _settled(
    decided: Mapping[PoolId, int], wishes: Mapping[PoolId, int], fleet: Fleet
) -> dict[PoolId, int]:
    """What pools come to: shrinks happen, growth as far as it fits."""
    sizes = {pool.id: pool.gpus_per_replica for pool in fleet.pools}
    limits = limits_of(fleet)
    settled = {id: min(decided.get(id, 0), wishes.get(id, decided.get(id, 0))) for id in sizes}
    for pool_id in sorted(wishes):
        used = {id: count * sizes[id] for id, count in settled.items()}
        room = [
            (limit.most - limit.used(used)) // (sizes[pool_id] * limit.per_gpu(pool_id))
            for limit in limits
            if pool_id in limit.pools
        ]
        more = min(room, default=0)
        settled[pool_id] += max(0, min(more, wishes[pool_id] - settled[pool_id]))
    return settled


def _gpus(replicas: Mapping[PoolId, int], sizes: Mapping[PoolId, int]) -> int:
    return sum(count * sizes[id] for id, count in replicas.items())
