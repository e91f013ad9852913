"""Choose pools and workers for a request: the plan's shares, corrected by what is live.

Pools are tried in turn order of the shares, then in the plan's spill order. The first that
has room and is predicted to keep the targets is taken, prefill and decode as a pair. If
none keeps them, the first with room that breaks the fewest; if none has room, the request
waits at the router, from where it can still go to a worker that appears later.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain

from router.core.admit import Sized
from router.core.pool import Pool
from router.core.pools import Pools, Shares
from router.core.request import Leg, Route, RouteReason, Wait, WaitReason
from router.core.shares import SmoothShares
from router.core.workers import Worker
from weir.domain.fleet import Role, Stage
from weir.domain.ids import WorkerId

__all__ = ["Chooser"]

_NOBODY: frozenset[WorkerId] = frozenset()
_SEVERITY = {reason: i for i, reason in enumerate(RouteReason)}


class Chooser:
    """Stateless but for the turns, which move only when `sent` says so."""

    def __init__(self, pools: Pools, turns: SmoothShares) -> None:
        self._pools = pools
        self._turns = turns

    def choose(
        self,
        sized: Sized,
        now_s: float,
        exclude: frozenset[WorkerId] = _NOBODY,
        prefilled: Leg | None = None,
    ) -> Route | Wait:
        """Where `sized` should go now. Excluded workers are taken only if there are no others.

        With `prefilled` only a decode worker is chosen.
        """
        search = _Search(self, sized, now_s, exclude)
        if prefilled is None:
            found = search.head()
        else:
            found = search.decode(self._pools[prefilled.pool_id].spec.dialect)
        if isinstance(found, _Choice):
            return _route(sized, found, prefilled)
        if exclude and found.reason is WaitReason.NO_WORKER:
            return self.choose(sized, now_s, prefilled=prefilled)
        return Wait(
            request_class=sized.request_class,
            isl_tokens=sized.isl_tokens,
            osl_tokens=sized.osl_tokens,
            reason=found.reason,
            stage=found.stage,
        )

    def sent(self, sized: Sized, route: Route, *, prefilled: bool) -> None:
        """The request was sent there: the turns move on."""
        if route.prefill is None:
            self._count(sized, Stage.PREFILL, route.decode)
            return
        if not prefilled:
            self._count(sized, Stage.PREFILL, route.prefill)
        self._count(sized, Stage.DECODE, route.decode)

    def shares(self, sized: Sized, stage: Stage) -> Shares:
        return self._pools.shares(sized.request_class.name, sized.model, stage)

    def in_turn(self, sized: Sized, stage: Stage) -> Iterable[Pool]:
        """Pools by turn, then by spill order; one may come twice."""
        shares = self.shares(sized, stage)
        key = (sized.request_class.name, sized.model.name, stage)
        turns = self._turns.order(key, shares.weights)
        if not shares.planned:
            return map(self._pools.__getitem__, turns)
        return chain(map(self._pools.__getitem__, turns[:1]), shares.spill)

    def _count(self, sized: Sized, stage: Stage, leg: Leg) -> None:
        key = (sized.request_class.name, sized.model.name, stage)
        self._turns.sent(key, self.shares(sized, stage).weights, leg.pool_id)


@dataclass(slots=True)
class _Choice:
    """One way to do a stage (or both); `kept` counts the targets it is predicted to keep."""

    pool: Pool
    worker: Worker
    kept: int
    decode: "_Choice | None" = None
    reason: RouteReason = RouteReason.SHARE


@dataclass(frozen=True, slots=True)
class _Lack:
    """Why there is no choice: of what, in which stage."""

    reason: WaitReason
    stage: Stage


_FULL = {stage: _Lack(WaitReason.NO_ROOM, stage) for stage in Stage}
_EMPTY = {stage: _Lack(WaitReason.NO_WORKER, stage) for stage in Stage}
_Found = _Choice | _Lack


class _Search:
    """The candidates for one request at one instant."""

    def __init__(
        self, chooser: Chooser, sized: Sized, now_s: float, exclude: frozenset[WorkerId]
    ) -> None:
        self._chooser = chooser
        self._sized = sized
        self._now_s = now_s
        self._exclude = exclude
        self._decodes: dict[str, _Found] = {}

    def head(self) -> _Found:
        """An agg pool, or a prefill pool with the decode pool that goes with it."""
        return self._stage(Stage.PREFILL, self._head_in, marks=2)

    def decode(self, dialect: str) -> _Found:
        """The decode pool for a prefill leg in `dialect`."""
        if dialect not in self._decodes:

            def decode_in(pool: Pool) -> _Found:
                if pool.spec.dialect != dialect:
                    return _EMPTY[Stage.DECODE]
                return self._decode_in(pool)

            self._decodes[dialect] = self._stage(Stage.DECODE, decode_in, marks=1)
        return self._decodes[dialect]

    def _stage(self, stage: Stage, choice_in: Callable[[Pool], _Found], marks: int) -> _Found:
        found = self._best(stage, self._chooser.in_turn(self._sized, stage), choice_in, marks)
        if isinstance(found, _Lack) and found.reason is WaitReason.NO_WORKER:
            others = self._chooser.shares(self._sized, stage).others
            last_resort = self._best(stage, others, choice_in, marks)
            if isinstance(last_resort, _Choice):
                last_resort.reason = RouteReason.LAST_RESORT
                return last_resort
        return found

    def _best(
        self,
        stage: Stage,
        pools: Iterable[Pool],
        choice_in: Callable[[Pool], _Found],
        marks: int,
    ) -> _Found:
        best: _Choice | None = None
        lack = _EMPTY[stage]
        reason = RouteReason.SHARE
        for pool in pools:
            choice = choice_in(pool) if pool.id not in self._sized.too_short else lack
            if isinstance(choice, _Lack):
                if lack.reason is WaitReason.NO_WORKER:
                    lack = choice
            elif choice.kept == marks:
                choice.reason = reason
                return choice
            elif best is None or choice.kept > best.kept:
                choice.reason = RouteReason.OVERLOAD
                best = choice
            reason = RouteReason.SPILL
        return best or lack

    def _head_in(self, pool: Pool) -> _Found:
        sized = self._sized
        kv_tokens = sized.kv_tokens if pool.spec.role is Role.AGG else 0
        worker = pool.least_loaded(self._now_s, self._exclude, kv_tokens)
        if worker is None:
            return _EMPTY[Stage.PREFILL]
        room = pool.has_prefill_room(worker, sized.isl_tokens)
        if pool.spec.role is Role.AGG:
            if not (room and pool.has_decode_room(worker, kv_tokens, sized.itl_s)):
                return _FULL[Stage.PREFILL]
            itl_s = pool.itl_s(worker, kv_tokens)
            ttft_s = pool.prefill_s(worker, sized.isl_tokens)
            return _Choice(pool, worker, (ttft_s <= sized.ttft_s) + (itl_s <= sized.itl_s))
        decode = self.decode(pool.spec.dialect)
        if not isinstance(decode, _Choice):
            return decode
        if not room:
            return _FULL[Stage.PREFILL]
        ttft_s = pool.prefill_s(worker, sized.isl_tokens)
        ttft_s += decode.pool.transfer_s(sized.isl_tokens)
        return _Choice(pool, worker, (ttft_s <= sized.ttft_s) + decode.kept, decode)

    def _decode_in(self, pool: Pool) -> _Found:
        sized = self._sized
        worker = pool.least_loaded(self._now_s, self._exclude, sized.kv_tokens)
        if worker is None:
            return _EMPTY[Stage.DECODE]
        if not pool.has_decode_room(worker, sized.kv_tokens, sized.itl_s):
            return _FULL[Stage.DECODE]
        itl_s = pool.itl_s(worker, sized.kv_tokens)
        return _Choice(pool, worker, int(itl_s <= sized.itl_s))


def _route(sized: Sized, found: _Choice, prefilled: Leg | None) -> Route:
    decode = found.decode or found
    head = prefilled
    if found.decode is not None:
        head = _leg(found)
    return Route(
        request_class=sized.request_class,
        isl_tokens=sized.isl_tokens,
        osl_tokens=sized.osl_tokens,
        prefill=head,
        decode=_leg(decode),
        reason=max(found.reason, decode.reason, key=_SEVERITY.__getitem__),
    )


def _leg(choice: _Choice) -> Leg:
    return Leg(pool_id=choice.pool.id, worker=choice.worker.endpoint)
