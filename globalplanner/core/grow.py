"""Where further replicas are worth most, one move at a time.

A move adds one replica to one pool, or to a prefill and a decode pool together: a decode
replica that no prefill can feed is worth nothing alone. Each time the move with the most value per
GPU is made, first among pools below their guarantee, then among all, until nothing is left unserved
or nothing fits. Value is concave, so prices bound what a move can add, and moves that cannot
win are not worked out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from math import ceil

from globalplanner.core.space import Allocation, Space
from weir.domain.fleet import Role
from weir.domain.ids import PoolId

__all__ = ["blocked", "grow", "improve"]

_PRESENT_BONUS = 1.05
"""A replica that is there already is worth this much more than one that would have to start."""
_MOST_IN_A_MOVE = 8
_EQUAL = 1e-9

Move = Mapping[PoolId, int]


@dataclass(frozen=True, slots=True)
class _Scored:
    score: float
    gain: float
    move: Move

    def beats(self, other: "_Scored | None") -> bool:
        return other is None or self.score > other.score * (1.0 + _EQUAL)


def grow(space: Space, start: Allocation) -> Allocation:
    """Add to `start` what is worth most until nothing is left unserved or nothing fits."""
    guarantees = {id: view.spec.guarantee_replicas for id, view in space.views.items()}
    maxima = {id: view.spec.max_replicas for id, view in space.views.items()}
    return _fill(space, _fill(space, start, guarantees), maxima)


def blocked(space: Space, replicas: Allocation) -> bool:
    """Whether a move would be worth making that the limits do not allow."""
    if space.satisfied(replicas):
        return False
    maxima = {id: view.spec.max_replicas for id, view in space.views.items()}
    moves = [m for m in _moves(space, replicas, maxima) if not space.fits(_plus(replicas, m))]
    return _best(space, replicas, moves) is not None


def improve(space: Space, replicas: Allocation) -> Allocation:
    """Exchange replicas between pools as long as that adds value, then drop idle ones.

    For when the limits bind: what greedy moves have used up may serve better elsewhere.
    """
    best = replicas
    for _ in range(sum(replicas.values()) + len(replicas)):
        exchanged = None if space.satisfied(best) else _exchange(space, best)
        if exchanged is None:
            break
        best = exchanged
    return _without_idle(space, best)


def _fill(space: Space, start: Allocation, caps: Mapping[PoolId, int]) -> Allocation:
    replicas = start
    while not space.satisfied(replicas):
        moves = [m for m in _moves(space, replicas, caps) if space.fits(_plus(replicas, m))]
        best = _best(space, replicas, moves)
        if best is None:
            break
        replicas = _plus(replicas, best.move)
    return replicas


def _moves(space: Space, replicas: Allocation, caps: Mapping[PoolId, int]) -> list[Move]:
    open_pools = [id for id in space.movable if replicas[id] < caps[id]]
    moves: list[Move] = [{id: 1} for id in open_pools]
    prefills = [id for id in open_pools if space.views[id].spec.role is Role.PREFILL]
    decodes = [id for id in open_pools if space.views[id].spec.role is Role.DECODE]
    for prefill, decode in product(prefills, decodes):
        if space.views[prefill].spec.model == space.views[decode].spec.model:
            moves += _pair_moves(space, replicas, caps, prefill, decode)
    return moves


def _pair_moves(
    space: Space, replicas: Allocation, caps: Mapping[PoolId, int], prefill: PoolId, decode: PoolId
) -> list[Move]:
    """One of each, and one of the stronger with as many of the weaker as it can use."""
    ratio = _ratio(space, prefill, decode)
    if ratio is None:
        return []
    most_prefills = min(ceil(1.0 / ratio), _MOST_IN_A_MOVE, caps[prefill] - replicas[prefill])
    most_decodes = min(ceil(ratio), _MOST_IN_A_MOVE, caps[decode] - replicas[decode])
    sizes = dict.fromkeys([(1, 1), (most_prefills, 1), (1, most_decodes)])
    return [{prefill: prefills, decode: decodes} for prefills, decodes in sizes]


def _ratio(space: Space, prefill: PoolId, decode: PoolId) -> float | None:
    """Decode replicas that one prefill replica feeds, for the largest stream they share."""
    fed, feeding = space.views[decode].capacity_rps, space.views[prefill].capacity_rps
    shared = [
        stream
        for stream in space.goodput.streams
        if min(fed.get(stream.class_name, 0.0), feeding.get(stream.class_name, 0.0)) > 0.0
        and stream.model == space.views[prefill].spec.model
    ]
    if not shared:
        return None
    name = max(shared, key=lambda stream: stream.rate_rps * stream.worth).class_name
    return feeding[name] / fed[name]


def _best(
    space: Space, replicas: Allocation, moves: Iterable[Move], *, per_gpu: bool = True
) -> _Scored | None:
    """The move with the most value per GPU, or in all; None if none adds any.

    Ties: fewest GPUs, then names.
    """
    prices = space.served(replicas).price_by_pool
    weighed = [(_bound(space, replicas, move, prices, per_gpu=per_gpu), move) for move in moves]
    weighed.sort(key=lambda item: (-item[0], _rank(space, item[1])))
    best: _Scored | None = None
    for bound, move in weighed:
        if bound <= 0.0 or (best is not None and bound <= best.score * (1.0 - _EQUAL)):
            break
        scored = _score(space, replicas, move, per_gpu=per_gpu)
        if scored.gain > space.negligible and _preferred(space, scored, best):
            best = scored
    return best


def _preferred(space: Space, scored: _Scored, best: _Scored | None) -> bool:
    if scored.beats(best) or best is None:
        return True
    if best.beats(scored):
        return False
    return _rank(space, scored.move) < _rank(space, best.move)


def _rank(space: Space, move: Move) -> tuple[int, list[tuple[PoolId, int]]]:
    return _gpus(space, move), sorted(move.items())


def _bound(
    space: Space,
    replicas: Allocation,
    move: Move,
    prices: Mapping[PoolId, float],
    *,
    per_gpu: bool,
) -> float:
    most = sum(prices.get(id, 0.0) * count for id, count in move.items())
    return most * _bonus(space, replicas, move) / (_gpus(space, move) if per_gpu else 1)


def _score(space: Space, replicas: Allocation, move: Move, *, per_gpu: bool) -> _Scored:
    gain = space.value(_plus(replicas, move)) - space.value(replicas)
    size = _gpus(space, move) if per_gpu else 1
    return _Scored(gain * _bonus(space, replicas, move) / size, gain, move)


def _bonus(space: Space, replicas: Allocation, move: Move) -> float:
    there = all(replicas[id] + count <= space.views[id].replicas for id, count in move.items())
    return _PRESENT_BONUS if there else 1.0


def _gpus(space: Space, move: Move) -> int:
    return sum(space.views[id].spec.gpus_per_replica * count for id, count in move.items())


def _plus(replicas: Allocation, move: Move) -> Allocation:
    return {id: count + move.get(id, 0) for id, count in replicas.items()}


def _exchange(space: Space, replicas: Allocation) -> Allocation | None:
    """One replica less somewhere for more elsewhere, if there is such an exchange."""
    guaranteed = space.value(space.guaranteed(replicas)) - space.negligible
    for pool_id in space.movable:
        view = space.views[pool_id]
        if replicas[pool_id] <= view.spec.min_replicas:
            continue
        fewer = _plus(replicas, {pool_id: -1})
        loss = space.value(replicas) - space.value(fewer)
        stays = _PRESENT_BONUS if replicas[pool_id] <= view.replicas else 1.0
        least = space.value(fewer) + loss * stays + space.negligible
        for refilled in _refilled(space, fewer, pool_id):
            kept = space.value(space.guaranteed(refilled)) >= guaranteed
            if kept and space.value(refilled) > least:
                return refilled
    return None


def _refilled(space: Space, fewer: Allocation, giver: PoolId) -> Iterable[Allocation]:
    """What `fewer` may become when another pool than `giver` gets the next replica."""
    maxima = {id: view.spec.max_replicas for id, view in space.views.items()}
    moves = [
        move
        for move in _moves(space, fewer, maxima)
        if giver not in move and space.fits(_plus(fewer, move))
    ]
    for per_gpu in (True, False):
        best = _best(space, fewer, moves, per_gpu=per_gpu)
        if best is not None:
            yield grow(space, _plus(fewer, best.move))


def _without_idle(space: Space, replicas: Allocation) -> Allocation:
    """Without replicas that add nothing and are not there yet."""
    for pool_id in space.movable:
        least = max(space.views[pool_id].spec.min_replicas, space.views[pool_id].replicas)
        while replicas[pool_id] > least:
            fewer = _plus(replicas, {pool_id: -1})
            if space.value(fewer) < space.value(replicas) - space.negligible:
                break
            replicas = fewer
    return replicas
