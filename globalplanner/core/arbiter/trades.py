"""Trades that may be worth making: who takes and who gives, so that the limits hold."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from globalplanner.core.arbiter.givers import Giver
from globalplanner.core.arbiter.grow import Scored
from globalplanner.core.arbiter.space import Space
from globalplanner.core.arbiter.stand import Move, Stand, joined

__all__ = ["Trade", "covering", "trades"]

_TAKERS = 16
_ALONE = 8
"""So many of the cheapest givers are considered for a taker, and all of its own component."""
_OF_A_KIND = 2


@dataclass(frozen=True, slots=True)
class Trade:
    """`net`: what it adds. `loss`: what the givers serve less."""

    takes: Move
    gives: Move
    net: float
    loss: float

    @property
    def move(self) -> Move:
        return joined(self.takes, self.gives)


def trades(
    stand: Stand,
    takers: Sequence[Scored],
    givers: Sequence[Giver],
    most: int,
    within: Collection[int],
) -> list[Trade]:
    """The most promising trades: for each taker the cheapest givers, and the other way.

    What a trade adds is estimated as the sum of its parts. In one component the parts may add up
    to more: of trades `within` such components as many again are kept.
    """
    each = {giver.move: giver.loss for giver in givers}
    gains = {taker.move: taker.gain for taker in takers}
    apart: dict[tuple[Move, Move], Trade] = {}
    inside: dict[tuple[Move, Move], Trade] = {}
    for takes, gives in _pairings(stand, takers, givers):
        loss = each.get(gives)
        if loss is None:
            loss = sum(-more * each.get(((pool, -1),), 0.0) for pool, more in gives)
        gain = sum(gains[move] for move in takes)
        trade = Trade(joined(*takes), gives, gain - loss, loss)
        shared = _components(stand, trade.takes) & _components(stand, gives)
        if not shared.isdisjoint(within):
            inside[trade.takes, gives] = trade
        elif gain > loss and not shared:
            apart[trade.takes, gives] = trade
    return [*_best(apart.values(), most), *_best(inside.values(), most)]


def covering(stand: Stand, takes: Move, givers: Sequence[Giver]) -> Move | None:
    """The cheapest givers with whose GPUs `takes` fits; None if there are not enough."""
    space = stand.space
    missing = {
        limit: need - max(stand.free[limit], 0)
        for limit, need in stand.needs(takes).items()
        if need > max(stand.free[limit], 0)
    }
    taking = {pool for pool, _ in takes}
    gives: dict[int, int] = {}
    while missing:
        best: tuple[float, Giver, dict[int, int]] | None = None
        for giver in givers:
            if any(
                pool in taking or not _has(stand, pool, gives.get(pool, 0) + more)
                for pool, more in giver.move
            ):
                continue
            useful = _useful(space, giver.move, missing)
            gpus = sum(freed / space.layout.per_gpu[k] for k, freed in useful.items())
            if useful and (best is None or giver.loss / gpus < best[0]):
                best = (giver.loss / gpus, giver, useful)
        if best is None:
            return None
        for pool, more in best[1].move:
            gives[pool] = gives.get(pool, 0) + more
        missing = {k: need - best[2].get(k, 0) for k, need in missing.items()}
        missing = {k: need for k, need in missing.items() if need > 0}
    return _without_surplus(stand, takes, gives)


def _pairings(
    stand: Stand, takers: Sequence[Scored], givers: Sequence[Giver]
) -> Iterator[tuple[tuple[Move, ...], Move]]:
    of = stand.space.component_of
    for taker in takers[:_TAKERS]:
        own = _components(stand, taker.move)
        useful: list[Giver] = []
        for giver in givers:
            mine = any(of[pool] in own for pool, _ in giver.move)
            if mine or (giver.price < taker.score and len(useful) < _ALONE):
                useful.append(giver)
        for those in (useful, *([giver] for giver in useful)):
            gives = covering(stand, taker.move, those)
            if gives:
                yield (taker.move,), gives
    needs = [(taker, stand.needs(taker.move)) for taker in takers]
    for gives in [*(giver.move for giver in givers), *_two_of_a_kind(stand, givers)]:
        takes = _filling(stand, gives, needs)
        if takes:
            yield takes, gives


def _two_of_a_kind(stand: Stand, givers: Sequence[Giver]) -> list[Move]:
    """The cheapest givers of any two kinds: what limits they are under decides who may take."""
    limits_of = stand.space.layout.limits_of
    cheapest: dict[tuple[int, ...], list[Giver]] = {}
    for giver in givers:
        kind = limits_of[giver.move[0][0]]
        if len(giver.move) == 1 and len(cheapest.setdefault(kind, [])) < _OF_A_KIND:
            cheapest[kind].append(giver)
    return [
        joined(one.move, other.move)
        for kind, those in cheapest.items()
        for other_kind, others in cheapest.items()
        if kind < other_kind
        for one in those
        for other in others
    ]


def _filling(
    stand: Stand, gives: Move, takers: Sequence[tuple[Scored, dict[int, int]]]
) -> tuple[Move, ...]:
    """Who may take the GPUs that are given, with what is free; those that gain most first."""
    freed = {limit: -need for limit, need in stand.needs(gives).items()}
    room = {k: max(0, free + freed.get(k, 0)) for k, free in enumerate(stand.free)}
    taken = {pool for pool, _ in gives}
    takes: list[Move] = []
    for taker, needs in takers:
        if all(need <= room[k] for k, need in needs.items()) and not any(
            pool in taken for pool, _ in taker.move
        ):
            takes.append(taker.move)
            taken.update(pool for pool, _ in taker.move)
            for k, need in needs.items():
                room[k] -= need
    return tuple(takes)


def _useful(space: Space, move: Move, missing: Mapping[int, int]) -> dict[int, int]:
    """What a giver frees of that which is missing, by limit."""
    freed: dict[int, int] = {}
    for pool, more in move:
        for limit, each in space.layout.takes_of[pool]:
            if limit in missing:
                freed[limit] = freed.get(limit, 0) - more * each
    return {limit: min(each, missing[limit]) for limit, each in freed.items()}


def _without_surplus(stand: Stand, takes: Move, gives: dict[int, int]) -> Move:
    """Without givers that turned out not to be needed, the largest first."""
    for pool in sorted(gives, key=lambda pool: (-stand.space.layout.size[pool], pool)):
        while gives[pool] < 0:
            fewer = {**gives, pool: gives[pool] + 1}
            if not stand.fits(joined(takes, tuple(fewer.items()))):
                break
            gives = fewer
    return tuple(sorted((pool, more) for pool, more in gives.items() if more))


def _has(stand: Stand, pool: int, more: int) -> bool:
    """Whether the pool may have so many fewer."""
    space = stand.space
    return stand.replicas[pool] + more >= max(space.low[pool], space.aside[pool])


def _components(stand: Stand, move: Move) -> set[int]:
    return {stand.space.component_of[pool] for pool, _ in move} - {-1}


def _best(found: Iterable[Trade], most: int) -> list[Trade]:
    return sorted(found, key=lambda trade: (-trade.net, trade.takes, trade.gives))[:most]
