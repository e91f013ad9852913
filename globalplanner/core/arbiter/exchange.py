"""GPUs change hands where the taker gains more than the givers lose.

By choice only if the move repays itself (`Space.repaid`); a guarantee that is missed takes from
those that have borrowed without that. What single replicas gain and lose is known from earlier
decisions well enough to look only at the most promising ones; what is done is weighed exactly.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from math import inf

import numpy as np

from globalplanner.core.arbiter.givers import Givers
from globalplanner.core.arbiter.grow import SMALL, Scored, grow, open_by_component, wanting
from globalplanner.core.arbiter.moves import gpus_of, hopes
from globalplanner.core.arbiter.stand import Effort, Move, Stand, joined
from globalplanner.core.arbiter.trades import Trade, covering, trades
from weir.sizing.basis import Flags
from weir.sizing.point import Point

__all__ = ["Exchange", "Refused"]

_COMPONENTS = 6
"""Components whose moves are weighed in a round: those that promise most."""
_WEIGHED = 16
_TRIED = 12
_MOST_REFUSED = 5
_GUARANTEED = 2
"""Which of the kept bases are those of allocations cut down to the guarantees."""
_WITHIN = 8
"""Trades within a component are looked for in one of so many each time, and trades of several
small replicas for a large one once in so many decisions."""


@dataclass(frozen=True, slots=True)
class Refused:
    """`repaid_s`: the start-up is repaid only after so long; None: the GPUs are used up."""

    trade: Trade
    repaid_s: float | None


class Exchange:
    """`givers` may give by choice."""

    def __init__(
        self,
        stand: Stand,
        givers: Givers,
        effort: Effort,
        *,
        caps: Sequence[int] | None = None,
    ) -> None:
        self._stand, self._givers, self._effort = stand, givers, effort
        self._caps = stand.space.high if caps is None else caps
        self._thorough = givers.estimates.fresh
        self._hasty = len(stand.replicas) > SMALL and not self._thorough
        self._wide = self._thorough or givers.estimates.number % _WITHIN == 0
        """Whether to look at moves too whose parts alone promise nothing."""
        self._guaranteed: Stand | None = None
        self.refused: dict[Move, Refused] = {}
        self.chosen: dict[int, int] = {}
        """Replicas that have left by choice."""
        self.within_guarantees: Point | None = None
        """What has been found of allocations cut down to the guarantees."""

    def owe(self) -> None:
        """Demand within guarantees gets GPUs from pools that have more than theirs."""
        stand, space = self._stand, self._stand.space
        guarantee = space.layout.guarantee
        caps = [min(most, each) for most, each in zip(self._caps, guarantee, strict=True)]

        def borrowed(pool: int) -> bool:
            return stand.replicas[pool] > max(guarantee[pool], space.low[pool])

        while self._effort.left > 0 and stand.behind_guarantee():
            takers = self._takers(caps, 0.0)
            if not takers or not self._pay(takers, borrowed):
                return

    def improve(self) -> None:
        """Make the trades that repay themselves, the best first."""
        stand, of = self._stand, self._stand.space.component_of
        while self._effort.left > 0:
            touched: set[int] = set()
            for trade in self._best_trades():
                pools = [pool for pool, _ in trade.move]
                if all(of[i] not in touched for i in pools) and stand.fits(trade.move):
                    self._make(trade)
                    touched |= {of[i] for i in pools}
            if not touched:
                return
            grow(stand, self._caps, self._effort, self._givers.estimates)

    def _pay(self, takers: Sequence[Scored], borrowed: Callable[[int], bool]) -> bool:
        """Pay what can be paid without weighing anything again; whether that was something."""
        stand, of = self._stand, self._stand.space.component_of
        givers = self._givers.weighed(stand, self._effort, only=borrowed, most=_WEIGHED)
        touched: set[int] = set()
        for taker in takers:
            if any(of[pool] in touched for pool, _ in taker.move):
                continue
            gives = covering(stand, taker.move, givers)
            if gives is None or self._guaranteed_gain(taker.move) <= stand.space.negligible:
                continue
            move = joined(taker.move, gives)
            self._apply(move)
            touched |= {of[pool] for pool, _ in move}
            givers = [g for g in givers if all(of[pool] not in touched for pool, _ in g.move)]
        return bool(touched)

    def _apply(self, move: Move) -> None:
        within = self._guaranteed_part(move)
        self._stand.apply(move)
        if self._guaranteed is not None and within:
            self._guaranteed.follow(within)

    def _best_trades(self) -> list[Trade]:
        """The best trade that is allowed, if there is one; in a hurry all, the best first."""
        stand = self._stand
        takers = self._takers(self._caps, 0.0 if self._wide else self._givers.cheapest(stand))
        if not takers:
            return []
        below = inf if self._wide else max(taker.score for taker in takers)
        givers = self._givers.weighed(stand, self._effort, most=_WEIGHED, below=below)
        found = trades(stand, takers, givers, _TRIED, self._looked_into())
        if not found:
            self._note_blocked(takers)
            return []
        nets = stand.gains([trade.move for trade in found], self._effort)
        losses = stand.gains([trade.gives for trade in found], self._effort)
        exact = [
            Trade(trade.takes, trade.gives, net, -loss)
            for trade, net, loss in zip(found, nets, losses, strict=True)
        ]
        exact.sort(key=lambda trade: -trade.net)
        allowed = (trade for trade in exact if self._allowed(trade))
        return list(allowed) if self._hasty else list(islice(allowed, 1))

    def _looked_into(self) -> range:
        components = len(self._stand.full)
        if self._thorough or components <= _WITHIN:
            return range(components)
        return range(self._givers.estimates.number % _WITHIN, components, _WITHIN)

    def _takers(self, caps: Sequence[int], above: float) -> list[Scored]:
        """Moves within `caps` that add something, the best per GPU first; none that fits.

        Those that may add more than `above` per GPU, by what is known of them.
        """
        stand, space, estimates = self._stand, self._stand.space, self._givers.estimates
        flags: Flags = (np.array(stand.replicas) < np.array(caps)) & np.array(space.movable)
        hopeful: list[tuple[float, Move]] = []
        for c, pools in open_by_component(space, flags, self._promising(flags, above)).items():
            for hope in hopes(stand, c, pools, caps):
                score = estimates.of(hope.move, hope.most) / hope.gpus
                if score > above:
                    hopeful.append((-score, hope.move))
        hopeful.sort()
        most = len(hopeful) if self._thorough else _WEIGHED
        moves = [move for _, move in hopeful[:most]]
        moves += [((pool, 1),) for pool in space.wishes if flags[pool]]
        gains = stand.gains(moves, self._effort)
        estimates.note(moves, gains)
        found = [
            Scored(move, gain, gpus_of(space, move))
            for move, gain in zip(moves, gains, strict=True)
            if gain > space.negligible and not stand.fits(move)
        ]
        found.sort(key=lambda each: (-each.score, each.gpus, each.move))
        return found

    def _promising(self, flags: Flags, above: float) -> list[int]:
        """Components that leave something unserved, those that may gain most per GPU.

        Where prefill and decode only help together what is known of single replicas says nothing.
        """
        stand, space = self._stand, self._stand.space
        prices = stand.prices
        known = np.minimum(prices, self._givers.estimates.gain)
        size = np.array(space.layout.size)
        members = space.goodput.components
        ranked = []
        for c in wanting(stand):
            pools = [pool for pool in members[c].pools if flags[pool]]
            if not pools:
                continue
            paired = space.layout.decodes[pools].any()
            score = float(((prices if paired else known)[pools] / size[pools]).max())
            if score > above:
                ranked.append((-score, c))
        ranked.sort()
        return [c for _, c in (ranked if self._thorough else ranked[:_COMPONENTS])]

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
            backlog = stand.point.times.backlog
            point = space.goodput.at(within, backlog_replicas=backlog, start=_GUARANTEED)
            self._guaranteed = Stand(space, point, stand.full)
            self.within_guarantees = point
        part = self._guaranteed_part(move)
        return self._guaranteed.gains([part], self._effort)[0] if part else 0.0

    def _guaranteed_part(self, move: Move) -> Move:
        """What a move changes of the replicas within guarantees."""
        replicas, guarantee = self._stand.replicas, self._stand.space.layout.guarantee
        changes = []
        for pool, more in move:
            before = min(replicas[pool], guarantee[pool])
            after = min(replicas[pool] + more, guarantee[pool])
            if before != after:
                changes.append((pool, after - before))
        return tuple(changes)

    def _make(self, trade: Trade) -> None:
        for pool, more in trade.gives:
            self.chosen[pool] = self.chosen.get(pool, 0) - more
            self._givers.leave(pool, -more)
        self._apply(trade.move)

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
