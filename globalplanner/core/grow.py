"""Where further replicas are worth most, one move at a time.

Each time the move with the most value per GPU is made, first among pools below their guarantee,
then among all, until nothing is left unserved or nothing fits.
"""

from collections.abc import Iterator, Mapping

from globalplanner.core.moves import PRESENT_BONUS, best_move, moves_from, plus
from globalplanner.core.space import Allocation, Space
from weir.domain.ids import PoolId

__all__ = ["blocked", "grow", "improve"]


def grow(space: Space, start: Allocation) -> Allocation:
    """Add to `start` what is worth most until nothing is left unserved or nothing fits."""
    guarantees = {id: view.spec.guarantee_replicas for id, view in space.views.items()}
    return _fill(space, _fill(space, start, guarantees), space.maxima)


def blocked(space: Space, replicas: Allocation) -> bool:
    """Whether a move would be worth making that the limits do not allow."""
    if space.satisfied(replicas):
        return False
    return best_move(space, replicas, moves_from(space, replicas, fitting=False)) is not None


def improve(space: Space, replicas: Allocation) -> Allocation:
    """Exchange replicas between pools as long as that adds value, then drop idle ones.

    For when the limits bind: what greedy moves have used up may serve better elsewhere.
    """
    best = replicas
    for _ in range(2 * len(replicas)):
        exchanged = None if space.satisfied(best) else _exchange(space, best)
        if exchanged is None:
            break
        best = exchanged
    return _without_idle(space, best)


def _fill(space: Space, start: Allocation, caps: Mapping[PoolId, int]) -> Allocation:
    replicas = start
    while not space.satisfied(replicas):
        best = best_move(space, replicas, moves_from(space, replicas, caps=caps))
        if best is None:
            break
        replicas = plus(replicas, best.move)
    return replicas


def _exchange(space: Space, replicas: Allocation) -> Allocation | None:
    """One replica less somewhere for more elsewhere, if there is such an exchange."""
    guaranteed = space.value(space.guaranteed(replicas)) - space.negligible
    for pool_id in space.movable:
        view = space.views[pool_id]
        if replicas[pool_id] <= space.least(pool_id):
            continue
        fewer = plus(replicas, ((pool_id, -1),))
        if not _may_pay(space, replicas, fewer, pool_id):
            continue
        loss = space.value(replicas) - space.value(fewer)
        stays = PRESENT_BONUS if replicas[pool_id] <= view.replicas else 1.0
        least = space.value(fewer) + loss * stays + space.negligible
        for refilled in _refilled(space, fewer, pool_id, space.value(replicas)):
            kept = space.value(space.guaranteed(refilled)) >= guaranteed
            if kept and space.value(refilled) > least:
                return refilled
    return None


def _may_pay(space: Space, replicas: Allocation, fewer: Allocation, giver: PoolId) -> bool:
    """Whether prices leave it open that the giver's replica serves more elsewhere."""
    prices = space.served(replicas).price_by_pool
    freed = space.room(fewer)
    elsewhere = max(
        (price for id, price in prices.items() if id != giver and freed.fits(((id, 1),))),
        default=0.0,
    )
    return elsewhere > 0.0 or giver not in prices


def _refilled(space: Space, fewer: Allocation, giver: PoolId, least: float) -> Iterator[Allocation]:
    """What `fewer` may become, worth `least`, when another pool gets the next replica."""
    moves = list(moves_from(space, fewer, besides=giver))
    for per_gpu in (True, False):
        best = best_move(space, fewer, moves, per_gpu=per_gpu)
        if best is not None and space.value(fewer) + best.gain >= least - space.negligible:
            yield grow(space, plus(fewer, best.move))


def _without_idle(space: Space, replicas: Allocation) -> Allocation:
    """Without replicas that add nothing and are not there yet."""
    for pool_id in space.movable:
        view = space.views[pool_id]
        while replicas[pool_id] > max(view.spec.min_replicas, view.replicas):
            fewer = plus(replicas, ((pool_id, -1),))
            if space.value(fewer) < space.value(replicas) - space.negligible:
                break
            replicas = fewer
    return replicas
