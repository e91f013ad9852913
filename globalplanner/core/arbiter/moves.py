"""Moves that may be worth making: a replica here, or prefill and decode replicas together.

A decode replica that no prefill can feed is worth nothing alone, nor the other way round. Value
is concave, so prices bound what a move can add, and moves that cannot win are not weighed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil

import numpy as np

from globalplanner.core.arbiter.space import Space
from globalplanner.core.arbiter.stand import Move, Stand
from weir.domain.fleet import Role

__all__ = ["Hope", "gpus_of", "hopes", "pairs"]

_MOST_IN_A_MOVE = 8
_MOST_PARTNERS = 3


@dataclass(frozen=True, slots=True)
class Hope:
    """`most` is what the move can add at the very most; `gpus` what it takes."""

    move: Move
    most: float
    gpus: float

    @property
    def score(self) -> float:
        return self.most / self.gpus


def gpus_of(space: Space, move: Move) -> float:
    """GPUs that change, or as many as their watts are worth."""
    return sum(space.layout.size[pool] * abs(more) for pool, more in move)


def hopes(
    stand: Stand, component: int, open_pools: Sequence[int], caps: Sequence[int]
) -> list[Hope]:
    """Moves of a component's open pools that may add something, the best first."""
    space, replicas = stand.space, stand.replicas
    missing = stand.full[component] - stand.point.value[component]
    hope = {pool: min(stand.hope(pool), missing) for pool in open_pools}
    found = [
        Hope(((pool, 1),), most, space.layout.size[pool])
        for pool, most in hope.items()
        if most > space.negligible
    ]
    for move in pairs(space, {pool: caps[pool] - replicas[pool] for pool in open_pools}):
        most = min(missing, sum(max(hope[pool], 0.0) * more for pool, more in move))
        if most > space.negligible:
            found.append(Hope(move, most, gpus_of(space, move)))
    found.sort(key=lambda each: (-each.score, each.gpus, each.move))
    return found


def pairs(space: Space, room: Mapping[int, int]) -> list[Move]:
    """A prefill and a decode pool: one of each, and one with what it can use of the other.

    Of the pools that have `room` for a replica or more; of many those that do most with a GPU.
    """
    roles = space.layout.roles
    prefills = _ablest(space, [pool for pool in room if roles[pool] is Role.PREFILL])
    decodes = _ablest(space, [pool for pool in room if roles[pool] is Role.DECODE])
    found: list[Move] = []
    for prefill, decode in product(prefills, decodes):
        ratio = _ratio(space, prefill, decode)
        if ratio is None:
            continue
        most_prefills = min(ceil(1.0 / ratio), _MOST_IN_A_MOVE, room[prefill])
        most_decodes = min(ceil(ratio), _MOST_IN_A_MOVE, room[decode])
        sizes = dict.fromkeys([(1, 1), (most_prefills, 1), (1, most_decodes)])
        found += [tuple(sorted(((prefill, p), (decode, d)))) for p, d in sizes]
    return found


def _ablest(space: Space, pools: list[int]) -> list[int]:
    if len(pools) <= _MOST_PARTNERS:
        return pools
    rate, usable = space.offer.demand.rate_rps, space.goodput.usable_rps
    model, gpus = space.layout.model, space.layout.size
    able = {
        pool: float(np.minimum(usable[pool], rate[model[pool]]).sum()) / gpus[pool]
        for pool in pools
    }
    return sorted(pools, key=lambda pool: (-able[pool], pool))[:_MOST_PARTNERS]


def _ratio(space: Space, prefill: int, decode: int) -> float | None:
    """Decode replicas that a prefill replica feeds, of the stream they share that matters most."""
    usable, demand = space.goodput.usable_rps, space.offer.demand
    shared = (usable[prefill] > 0.0) & (usable[decode] > 0.0)
    if not shared.any():
        return None
    model = space.layout.model[prefill]
    name = int(np.where(shared, demand.rate_rps[model] * demand.worth[model], -1.0).argmax())
    return float(usable[prefill, name] / usable[decode, name])
