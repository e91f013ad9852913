"""How many replicas each pool should run, and what share of each class it gets.

Pure and deterministic; the order of pools and classes does not matter. The steps:

1. Without knowledge of the offered load nothing changes (only limits and wishes are kept): B7.
2. What the limits do not hold goes, where that costs least.
3. Growth is immediate: what is there is added to where it is worth most, per GPU, until no
   demand is left unserved. So constant demand leads to a fixed point (B4).
4. If the limits forbid it, guarantees come first; then GPUs change hands where that repays itself.
   Pools give up at once what others need more, but for pools of which nobody knows what is
   queued: these give up nothing (B7).
5. What has not been needed for the dwell time goes.

Work is bounded by counts: in a large fleet a decision does what promises most, and the next one
goes on from there.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from globalplanner.core.arbiter.exchange import Exchange
from globalplanner.core.arbiter.givers import Givers
from globalplanner.core.arbiter.grow import SMALL, grow
from globalplanner.core.arbiter.hold import hold
from globalplanner.core.arbiter.kept import Kept, kept_of
from globalplanner.core.arbiter.lazily import Lazily
from globalplanner.core.arbiter.lowest import Lowest
from globalplanner.core.arbiter.outcome import alternatives_of, prices_of
from globalplanner.core.arbiter.plan import shares_of
from globalplanner.core.arbiter.reasons import explain, explain_classes
from globalplanner.core.arbiter.relief import relieve
from globalplanner.core.arbiter.routing import Routing
from globalplanner.core.arbiter.shrink import settle_lulls
from globalplanner.core.arbiter.snapshot import (
    Decision,
    Departures,
    Lull,
    Memory,
    Rules,
    Snapshot,
    Step,
)
from globalplanner.core.arbiter.space import Space
from globalplanner.core.arbiter.spread import Spread
from globalplanner.core.arbiter.stand import Effort, Move, Stand
from weir.domain.ids import ClassName, PoolId

__all__ = ["arbitrate"]

_EFFORT = {"guarantee": 100, "grow": 200, "exchange": 100, "shrink": 100}
"""Programs that a decision weighs; somewhat more, as a round is always ended."""
_IN_LARGE = {"guarantee": 40, "grow": 60, "exchange": 45, "shrink": 45}
_MUCH = 20
"""A large fleet that has weighed so many for growth leaves the rest to the next decision,"""
_PUT_OFF = 4
"""but not more often in a row."""
_HUGE = 64
"""In one of more pools only half of the components are looked at for what could go."""
_ROUNDS = 2
_MOST_ROUNDS = 100
_AFRESH = 8
"""Times as many if nothing is known from before."""


def arbitrate(snapshot: Snapshot, rules: Rules, memory: Memory) -> Decision:
    """Decide on `snapshot`; `memory` comes from the decision before, empty at first."""
    kept = kept_of(snapshot, memory)
    if snapshot.loads is None:
        return hold(snapshot, rules, memory, kept)
    return _Deciding(snapshot, rules, memory, kept).decide()


class _Deciding:
    """One decision, step by step."""

    def __init__(self, snapshot: Snapshot, rules: Rules, memory: Memory, kept: Kept) -> None:
        self._snapshot, self._memory, self._kept = snapshot, memory, kept
        self._space = Space(kept.layout, snapshot, rules, kept.bases)
        may_leave = self._space.may_leave(memory.left, snapshot.now_s)
        self._givers = Givers(kept.estimates.later(), may_leave)
        times = _AFRESH if kept.fresh else 1
        effort = _IN_LARGE if self._large else _EFFORT
        self._effort = {name: Effort(times * programs) for name, programs in effort.items()}
        self._put_off = False
        self._lowest = Lowest(self._space, kept.number, kept.low, kept.tried)
        self._routing = Routing(self._space, kept.groups, self._lowest)

    def decide(self) -> Decision:
        space, now_s = self._space, self._snapshot.now_s
        stand = self._known()
        space.price_wishes(stand.value, space.now)
        if min(stand.free, default=0) < 0:
            relieve(stand, self._givers, self._effort["exchange"])
        stand = self._grown(stand)
        exchange = Exchange(stand, self._givers, self._effort["exchange"])
        exchange.owe()
        grow(stand, space.high, self._effort["grow"], self._givers.estimates)
        self._put_off = self._large and self._grew_much()
        if self._turn(0):
            exchange.improve()
        if not self._large:
            _drop_idle(stand, self._effort["grow"])
        if self._turn(1):
            self._lowest.settle(
                stand, self._effort["shrink"], self._shrinking(stand), rounds=self._rounds
            )
        replicas, lulls = settle_lulls(
            space,
            stand.replicas,
            self._lowest,
            self._memory.lulls,
            self._givers.may_leave,
            now_s,
        )
        routed = self._routing.now(stand, replicas, self._kept.rates)
        shares, spill = shares_of(space.layout, routed.rate_rps, space.offer.capacity_rps)
        return Decision(
            replicas=space.allocation(replicas),
            reasons=Lazily(lambda: self._reasons(stand, replicas, routed, lulls)),
            memory=Memory(
                lulls=lulls,
                steps=self._steps(replicas),
                left=self._left(stand, replicas, exchange.chosen),
                kept=self._keep(stand, routed, exchange),
            ),
            shares=shares,
            spill=spill,
            value=stand.value,
            full_value=sum(stand.full),
            class_reasons=Lazily(lambda: self._class_reasons(stand, replicas)),
            alternatives=alternatives_of(stand, exchange.refused.values()),
            prices=prices_of(stand, self._givers.estimates.gain),
            infeasible=space.offer.infeasible,
        )

    def _grew_much(self) -> bool:
        """Growth cannot wait; what else could change can, for a few decisions."""
        spent = sum(_IN_LARGE[name] - self._effort[name].left for name in ("guarantee", "grow"))
        return spent > _MUCH and self._kept.put_off < _PUT_OFF

    @property
    def _large(self) -> bool:
        """Whether some of the work takes turns with the next decisions."""
        return len(self._space.views) > SMALL and not self._kept.fresh

    def _turn(self, number: int) -> bool:
        """Whether it is the turn of one of two kinds of work."""
        return not self._large or (self._kept.turn % 2 == number and not self._put_off)

    @property
    def _rounds(self) -> int:
        return _ROUNDS if self._large else _MOST_ROUNDS

    def _shrinking(self, stand: Stand) -> list[int]:
        """Components to look into for what could go: those that have grown have nothing to give."""
        members, now = self._space.goodput.components, self._space.now
        if not self._large:
            return [*range(len(members))]
        step = 2 if len(self._space.views) > _HUGE else 1
        first = self._kept.turn // 2 % step
        return [
            c
            for c in range(first, len(members), step)
            if all(stand.replicas[pool] <= now[pool] for pool in members[c].pools)
        ]

    def _known(self) -> Stand:
        """What there is now. Components that had room to shrink are likely to have it still."""
        space, lowest = self._space, self._lowest
        point = space.goodput.at(space.now)
        names = [space.layout.ids[c.pools[0]] for c in space.goodput.components]
        lowest.check(c for c, name in enumerate(names) if name in self._kept.sure)
        for c in lowest.sure:
            point.certify(c, space.full[c])
        point.find(c for c in range(len(names)) if c not in lowest.sure)
        return Stand(space, point, space.full)

    def _grown(self, stand: Stand) -> Stand:
        """With what is missing for the rate, and then for queued work as far as it counts.

        It counts less a replica for each that was added lately, or is now for the rate. So a step
        is sized from the backlog once, and not again while its replicas start and catch up. What
        the replicas there are can catch up on counts anyhow: they keep their worth.
        """
        space, queued = self._space, self._space.offer.supply.backlog_replicas
        of = space.component_of
        behind = [i for i in np.flatnonzero(queued > 0.0).tolist() if of[i] >= 0]
        if all(stand.satisfied(of[pool]) for pool in behind):
            self._guarantee(stand)
            return stand
        before = np.array(stand.replicas)
        certain = np.array([stand.certain(pool) for pool in range(len(before))])
        caught_up = np.where(certain, queued, stand.point.caught_up())
        by_rate = stand.with_backlog(np.minimum(queued, caught_up))
        self._guarantee(by_rate)
        if not by_rate.behind_guarantee():
            grow(by_rate, space.high, self._effort["grow"], self._givers.estimates)
        ids, now_s = space.layout.ids, self._snapshot.now_s
        trusted = np.array([self._memory.trusted(id, now_s) for id in ids])
        added = np.maximum(np.array(by_rate.replicas) - before, 0)
        counts = np.maximum(queued - trusted - added, np.minimum(queued, caught_up))
        grown = by_rate.with_backlog(counts)
        self._guarantee(grown)
        return grown

    def _guarantee(self, stand: Stand) -> None:
        """Grow within guarantees."""
        space = self._space
        bounds = zip(space.high, space.layout.guarantee, strict=True)
        within = [min(high, guarantee) for high, guarantee in bounds]
        grow(stand, within, self._effort["guarantee"], self._givers.estimates)

    def _reasons(
        self,
        stand: Stand,
        replicas: Sequence[int],
        routed: Spread,
        lulls: Mapping[PoolId, Lull],
    ) -> dict[PoolId, str]:
        needed = self._routing.spread(stand, np.array(replicas, dtype=np.float64), routed.rate_rps)
        return explain(stand, replicas, needed, lulls, self._snapshot.now_s)

    def _class_reasons(self, stand: Stand, replicas: Sequence[int]) -> dict[ClassName, str]:
        return explain_classes(stand, self._routing.served(stand), replicas)

    def _steps(self, replicas: Sequence[int]) -> dict[PoolId, tuple[Step, ...]]:
        """Steps still trusted, and those of this decision. A pool that shrinks trusts none."""
        space, now_s, steps = self._space, self._snapshot.now_s, {}
        for pool, (id, count) in enumerate(zip(space.layout.ids, replicas, strict=True)):
            before = space.now[pool]
            kept = [step for step in self._memory.steps.get(id, ()) if step.until_s > now_s]
            if count > before:
                reach_s = space.layout.start_up_s[pool] + space.rules.backlog_horizon_s
                kept.append(Step(replicas=count - before, until_s=now_s + reach_s))
            if kept and count >= before:
                steps[id] = tuple(kept)
        return steps

    def _left(
        self, stand: Stand, replicas: Sequence[int], chosen: Mapping[int, int]
    ) -> dict[PoolId, Departures]:
        """Replicas that have left by choice within the window, now included."""
        space, now_s = self._space, self._snapshot.now_s
        if not self._givers.may_leave:
            return {}
        since_s = now_s - space.rules.leave_window_s
        left = {}
        for pool, id in enumerate(space.layout.ids):
            gone = stand.replicas[pool] - replicas[pool] + chosen.get(pool, 0)
            gone = min(gone, space.now[pool] - replicas[pool])
            kept = tuple(each for each in self._memory.left.get(id, ()) if each[0] > since_s)
            if gone > 0:
                kept = (*kept, (now_s, gone))
            if kept:
                left[id] = kept
        return left

    def _keep(self, stand: Stand, routed: Spread, exchange: Exchange) -> Kept:
        space, lowest, before = self._space, self._lowest, self._kept
        ids, number = space.layout.ids, before.number + 1
        guaranteed = before.bases[2]
        if exchange.within_guarantees is not None:
            guaranteed = exchange.within_guarantees.bases(guaranteed)
        return Kept(
            layout=before.layout,
            groups=before.groups,
            bases=(
                stand.point.bases(before.bases[0]),
                lowest.point.bases(before.bases[1]),
                guaranteed,
            ),
            low={
                id: least
                for id, least, count in zip(ids, lowest.replicas, stand.replicas, strict=True)
                if least < count
            },
            tried={id: tried for id, tried in lowest.tried.items() if tried.until > number},
            sure=frozenset(
                ids[space.goodput.components[c].pools[0]] for c in lowest.serving_everything()
            ),
            estimates=self._givers.estimates,
            rates=routed.rate_rps,
            number=number,
            turn=before.turn + (not self._put_off),
            put_off=before.put_off + 1 if self._put_off else 0,
            fresh=False,
        )


def _drop_idle(stand: Stand, effort: Effort) -> None:
    """Take back what was added and is of no use after all."""
    space = stand.space
    while effort.left > 0:
        moves: list[Move] = [
            ((pool, -1),)
            for pool, count in enumerate(stand.replicas)
            if count > max(space.now[pool], space.low[pool])
            and space.views[pool].wish is None
            and stand.loss(pool) <= space.negligible
        ]
        gains = stand.gains(moves, effort)
        idle = [m for m, gain in zip(moves, gains, strict=True) if gain >= -space.negligible]
        if not idle:
            return
        stand.apply(idle[0])
