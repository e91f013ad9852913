"""Steps from one allocation to the next, and which of them is worth most.

A move adds replicas to one pool, or to a prefill and a decode pool together: a decode replica
that no prefill can feed is worth nothing alone. Value is concave, so prices bound what a move
can add, and moves that cannot win are not worked out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil

from globalplanner.core.space import Allocation, Space
from weir.domain.fleet import Role
from weir.domain.ids import PoolId

__all__ = ["PRESENT_BONUS", "Move", "Scored", "best_move", "moves_from", "plus"]

PRESENT_BONUS = 1.05
"""A replica that is there already is worth this much more than one that would have to start."""
_MOST_IN_A_MOVE = 8
_MOST_WEIGHED = 24
"""In fleets of many pools the most promising moves are enough."""
_EQUAL = 1e-9

Move = tuple[tuple[PoolId, int], ...]
"""Replicas to add, by pool."""


@dataclass(frozen=True, slots=True)
class Scored:
    """`gain` in value; `score` is what moves are compared by."""

    score: float
    gain: float
    move: Move


def plus(replicas: Allocation, move: Move) -> Allocation:
    more = dict(replicas)
    for pool_id, count in move:
        more[pool_id] += count
    return more


def moves_from(
    space: Space,
    replicas: Allocation,
    *,
    caps: Mapping[PoolId, int] | None = None,
    besides: PoolId | None = None,
    fitting: bool = True,
) -> Iterator[Move]:
    """Moves within `caps` (the maxima) that leave `besides` alone.

    Those that the limits allow, or with `fitting` False those that they do not.
    """
    room = space.room(replicas)
    for move in _moves(space, replicas, caps or space.maxima, besides):
        if room.fits(move) is fitting:
            yield move


def best_move(
    space: Space, replicas: Allocation, moves: Iterable[Move], *, per_gpu: bool = True
) -> Scored | None:
    """The move with the most value per GPU, or in all; None if none adds any.

    Ties: fewest GPUs, then names.
    """
    prices = space.served(replicas).price_by_pool
    weighed = []
    for move in moves:
        most = sum(prices.get(id, 0.0) * count for id, count in move)
        if most > space.negligible:
            factor = _factor(space, replicas, move, per_gpu=per_gpu)
            weighed.append((-most * factor, _gpus(space, move), move))
    best: Scored | None = None
    for number, (bound, _, move) in enumerate(sorted(weighed)):
        if best is not None and (-bound <= best.score * (1.0 - _EQUAL) or number >= _MOST_WEIGHED):
            break
        gain = space.value(plus(replicas, move)) - space.value(replicas)
        if gain > space.negligible:
            factor = _factor(space, replicas, move, per_gpu=per_gpu)
            best = _better(space, Scored(gain * factor, gain, move), best)
    return best


def _moves(
    space: Space, replicas: Allocation, caps: Mapping[PoolId, int], besides: PoolId | None
) -> Iterator[Move]:
    prices = space.served(replicas).price_by_pool
    open_pools = [id for id in space.movable if replicas[id] < caps[id] and id != besides]
    for id in open_pools:
        if id in prices:
            yield ((id, 1),)
    prefills = [id for id in open_pools if space.views[id].spec.role is Role.PREFILL]
    decodes = [id for id in open_pools if space.views[id].spec.role is Role.DECODE]
    for prefill, decode in product(prefills, decodes):
        if prefill in prices or decode in prices:
            yield from _pair_moves(space, replicas, caps, prefill, decode)


def _pair_moves(
    space: Space, replicas: Allocation, caps: Mapping[PoolId, int], prefill: PoolId, decode: PoolId
) -> Sequence[Move]:
    """One of each, and one of the stronger with as many of the weaker as it can use."""
    ratio = space.ratio(prefill, decode)
    if ratio is None:
        return ()
    most_prefills = min(ceil(1.0 / ratio), _MOST_IN_A_MOVE, caps[prefill] - replicas[prefill])
    most_decodes = min(ceil(ratio), _MOST_IN_A_MOVE, caps[decode] - replicas[decode])
    sizes = dict.fromkeys([(1, 1), (most_prefills, 1), (1, most_decodes)])
    return [tuple(sorted(((prefill, prefills), (decode, decodes)))) for prefills, decodes in sizes]


def _better(space: Space, scored: Scored, best: Scored | None) -> Scored:
    if best is None or scored.score > best.score * (1.0 + _EQUAL):
        return scored
    if best.score > scored.score * (1.0 + _EQUAL):
        return best
    return min(scored, best, key=lambda each: (_gpus(space, each.move), each.move))


def _factor(space: Space, replicas: Allocation, move: Move, *, per_gpu: bool) -> float:
    there = all(replicas[id] + count <= space.views[id].replicas for id, count in move)
    return (PRESENT_BONUS if there else 1.0) / (_gpus(space, move) if per_gpu else 1)


def _gpus(space: Space, move: Move) -> int:
    return sum(space.views[id].spec.gpus_per_replica * count for id, count in move)
