"""GPUs change hands where the taker gains more than the givers lose.

By choice only if the move repays itself (`Space.repaid`); a guarantee that is missed takes from
those that have borrowed without that. What single replicas gain and lose is known from earlier
decisions well enough to look only at the most promising ones; what is done is weighed exactly.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from globalplanner.core.givers import Giver, Givers, covering
from globalplanner.core.grow import Scored, grow, open_by_component, wanting
from globalplanner.core.moves import gpus_of, hopes
from globalplanner.core.stand import Effort, Move, Stand, joined

__all__ = ["Exchange", "Refused", "Trade"]

_COMPONENTS = 6
"""Components whose moves are weighed in a round: those that promise most."""
_WEIGHED = 16
_TRIED = 12
_OF_A_KIND = 2
_MOST_REFUSED = 5


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


@dataclass(frozen=True, slots=True)
class Refused:
    """`why_not`: the start-up is repaid only after so long; None: the GPUs are used up."""

    trade: Trade
    repaid_s: float | None


class Exchange:
    """`givers` may give by choice."""

    def __init__(
        self, stand: Stand, givers: Givers, effort: Effort, caps: Sequence[int] | None = None
    ) -> None:
        self._stand, self._givers, self._effort = stand, givers, effort
        self._caps = stand.space.high if caps is None else caps
        self._guaranteed: Stand | None = None
        self.refused: dict[Move, Refused] = {}
        self.chosen: dict[int, int] = {}
        """Replicas that have left by choice."""

    def owe(self) -> None:
        """Demand within guarantees gets GPUs from pools that have more than theirs."""
        stand, space = self._stand, self._stand.space
        guarantee = space.layout.guarantee
        caps = [min(most, each) for most, each in zip(self._caps, guarantee, strict=True)]
        borrowed = lambda pool: stand.replicas[pool] > max(guarantee[pool], space.low[pool])  # noqa: E731
        while self._effort.left > 0:
            takers = self._takers(caps)
            if not takers or not self._pay(takers, borrowed):
                return

    def improve(self) -> None:
        """Make the trades that repay themselves, the best first."""
        while self._effort.left > 0:
            trade = self._best_trade()
            if trade is None:
                return
            self._make(trade)
            grow(self._stand, self._caps, self._effort)

    def _pay(self, takers: Sequence[Scored], borrowed: Callable[[int], bool]) -> bool:
        stand = self._stand
        options = self._givers.weighed(stand, self._effort, only=borrowed, most=_WEIGHED)
        for taker in takers:
            gives = covering(stand, taker.move, options)
            if gives is None or self._guaranteed_gain(taker.move) <= stand.space.negligible:
                continue
            stand.apply(joined(taker.move, gives))
            self._guaranteed = None
            return True
        return False

    def _best_trade(self) -> Trade | None:
        """The best trade that is allowed, if there is one."""
        stand = self._stand
        takers = self._takers(self._caps)
        if not takers:
            return None
        options = self._givers.weighed(stand, self._effort, most=_WEIGHED)
        found = self._composed(takers, options)
        if not found:
            self._note_blocked(takers)
            return None
        found = self._most_promising(found)
        nets = stand.gains([trade.move for trade in found], self._effort)
        losses = stand.gains([trade.gives for trade in found], self._effort)
        exact = [
            Trade(trade.takes, trade.gives, net, -loss)
            for trade, net, loss in zip(found, nets, losses, strict=True)
        ]
        allowed = [trade for trade in exact if self._allowed(trade)]
        return max(allowed, key=lambda trade: trade.net, default=None)

    def _takers(self, caps: Sequence[int]) -> list[Scored]:
        """Moves within `caps` that add something, the best per GPU first; none that fits."""
        stand, space = self._stand, self._stand.space
        replicas = np.array(stand.replicas)
        flags = (replicas < np.array(caps)) & np.array(space.movable)
        promising = self._givers.estimates.promising(stand, flags, wanting(stand), _COMPONENTS)
        moves: list[Move] = []
        for c, pools in open_by_component(space, flags, promising).items():
            those = [hope.move for hope in hopes(stand, c, pools, caps)]
            moves += those[: max(_WEIGHED, 4 * _WEIGHED // max(1, len(promising)))]
        moves += [((pool, 1),) for pool in space.wishes if flags[pool]]
        gains = stand.gains(moves, self._effort)
        self._givers.estimates.gained(moves, gains)
        found = [
            Scored(move, gain, gpus_of(space, move))
            for move, gain in zip(moves, gains, strict=True)
            if gain > space.negligible and not stand.fits(move)
        ]
        found.sort(key=lambda each: (-each.score, each.gpus, each.move))
        return found

    def _composed(self, takers: Sequence[Scored], options: Sequence[Giver]) -> list[Trade]:
        """Trades that may be worth it: for each taker the cheapest givers, and the other way."""
        stand = self._stand
        found: dict[tuple[Move, Move], Trade] = {}
        singles = [[giver] for giver in options]
        for taker in takers[:_WEIGHED]:
            for those in (options, *singles):
                gives = covering(stand, taker.move, those)
                if gives:
                    self._add(found, taker.move, gives, taker.gain, options)
        for gives in [*(giver.move for giver in options), *_two_of_a_kind(stand, options)]:
            takes, gain = _filling(stand, gives, takers)
            if takes:
                self._add(found, takes, gives, gain, options)
        return list(found.values())

    def _most_promising(self, found: list[Trade]) -> list[Trade]:
        """Of trades between components, and of those within one, whose parts do not add up."""
        found.sort(key=lambda trade: (-trade.net, trade.takes, trade.gives))
        apart = [trade for trade in found if not self._within_one(trade)]
        within = [trade for trade in found if self._within_one(trade)]
        return apart[:_TRIED] + within[:_TRIED]

    def _within_one(self, trade: Trade) -> bool:
        of = self._stand.space.component_of
        return not {of[p] for p, _ in trade.takes}.isdisjoint(of[p] for p, _ in trade.gives)

    def _add(
        self,
        found: dict[tuple[Move, Move], Trade],
        takes: Move,
        gives: Move,
        gain: float,
        options: Sequence[Giver],
    ) -> None:
        """What a trade adds is estimated as the sum of its parts; within one it may add more."""
        each = {giver.move: giver.loss for giver in options}
        loss = each.get(gives)
        if loss is None:
            loss = sum(-more * each.get(((pool, -1),), 0.0) for pool, more in gives)
        trade = Trade(takes, gives, gain - loss, loss)
        if gain > loss or self._within_one(trade):
            found[takes, gives] = trade

    def _allowed(self, trade: Trade) -> bool:
        """Whether it repays itself, and no demand within guarantees is served less."""
        space, replicas = self._stand.space, self._stand.replicas
        if trade.net <= space.negligible or not self._givers.may_all_leave(trade.gives):
            return False
        stops = any(replicas[pool] + more < space.now[pool] for pool, more in trade.gives)
        if stops and trade.loss > space.negligible:
            needed = max(space.repaid(pool) for pool, _ in trade.takes)
            if trade.net + trade.loss <= needed * trade.loss:
                self._refuse(trade)
                return False
        below = any(
            replicas[pool] + more < space.layout.guarantee[pool] for pool, more in trade.gives
        )
        return not below or self._guaranteed_gain(trade.move) >= -space.negligible

    def _guaranteed_gain(self, move: Move) -> float:
        """What a move adds to what is served by replicas within guarantees alone."""
        stand, space = self._stand, self._stand.space
        guarantee = space.layout.guarantee
        if self._guaranteed is None:
            within = [min(n, most) for n, most in zip(stand.replicas, guarantee, strict=True)]
            point = space.goodput.at(within, backlog_replicas=stand.point.times.backlog)
            self._guaranteed = Stand(space, point, stand.full)
        changes = []
        for pool, more in move:
            before = min(stand.replicas[pool], guarantee[pool])
            after = min(stand.replicas[pool] + more, guarantee[pool])
            if before != after:
                changes.append((pool, after - before))
        return self._guaranteed.gains([tuple(changes)], self._effort)[0] if changes else 0.0

    def _make(self, trade: Trade) -> None:
        for pool, more in trade.gives:
            self.chosen[pool] = self.chosen.get(pool, 0) - more
            self._givers.leave(pool, -more)
        self._stand.apply(trade.move)
        self._guaranteed = None

    def _refuse(self, trade: Trade) -> None:
        start_s = max(self._stand.space.layout.start_up_s[pool] for pool, _ in trade.takes)
        repaid_s = start_s * (trade.net + trade.loss) / trade.net if trade.net > 0.0 else inf
        self._keep(Refused(trade, repaid_s))

    def _note_blocked(self, takers: Sequence[Scored]) -> None:
        for taker in takers[:_MOST_REFUSED]:
            self._keep(Refused(Trade(taker.move, (), taker.gain, 0.0), None))

    def _keep(self, refused: Refused) -> None:
        if len(self.refused) < 4 * _MOST_REFUSED:
            self.refused[refused.trade.move] = refused


def _two_of_a_kind(stand: Stand, options: Sequence[Giver]) -> list[Move]:
    """The cheapest givers of any two kinds: what limits they are under decides who may take."""
    limits_of = stand.space.layout.limits_of
    cheapest: dict[tuple[int, ...], list[Giver]] = {}
    for giver in options:
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


def _filling(stand: Stand, gives: Move, takers: Sequence[Scored]) -> tuple[Move, float]:
    """What may take the GPUs that are given, with what is free, and what that gains at most."""
    freed = {limit: -gpus for limit, gpus in stand.needs(gives).items()}
    room = {k: max(0, free + freed.get(k, 0)) for k, free in enumerate(stand.free)}
    given = {pool for pool, _ in gives}
    takes: list[Move] = []
    gain = 0.0
    taken: dict[int, int] = {}
    for taker in takers:
        if any(pool in given or pool in taken for pool, _ in taker.move):
            continue
        needs = stand.needs(taker.move)
        if all(gpus <= room[k] for k, gpus in needs.items()):
            takes.append(taker.move)
            gain += taker.gain
            for k, gpus in needs.items():
                room[k] -= gpus
            taken |= dict(taker.move)
    return joined(*takes), gain
