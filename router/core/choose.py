"""Choose pools and workers for a request: the plan's shares, corrected by what is live.

Pools are tried in turn order of the shares, then in the plan's spill order. The first that
has room and is predicted to keep the targets is taken, prefill and decode as a pair. If
none keeps them, the first with room that breaks the fewest; if none has room, the request
waits at the router, from where it can still go to a worker that appears later.

A prompt of which little is to be computed goes straight to a decode worker, if that one is
predicted to keep both targets and has room beyond what others need: a short one to that of the
pair whose turn it is, or to one that has its beginning, a long one to one that has most of it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf
from operator import itemgetter

from router.core.admit import Sized
from router.core.pool import Pool
from router.core.pools import Pools, Shares
from router.core.request import Leg, Route, RouteReason, Terms, Wait, WaitReason
from router.core.workers.worker import Worker
from weir.domain.fleet import Role, Stage
from weir.domain.ids import PoolId, WorkerId

__all__ = ["Chooser"]

_NOBODY: frozenset[WorkerId] = frozenset()
_ANY = Terms()
_SEVERITY = {reason: i for i, reason in enumerate(RouteReason)}
_PREFILL, _DECODE = Stage.PREFILL, Stage.DECODE
_ALL_KEPT = 2
"""A head keeps TTFT, and it or its pair ITL."""
_MUCH = 4
"""A pool that has one in so many of a prompt's tokens more than another may go before its turn."""
_by_first = itemgetter(0)
_SHARE, _SPILL = RouteReason.SHARE, RouteReason.SPILL
_NO_WORKER = WaitReason.NO_WORKER


class Chooser:
    """Stateless; the turns move only when `sent` says so. `cells`: there may be shares in order."""

    def __init__(self, pools: Pools, *, cells: bool = False) -> None:
        self._pools = pools
        self._search = _CellSearch if cells else _Search

    def choose(
        self,
        sized: Sized,
        now_s: float,
        exclude: frozenset[WorkerId] = _NOBODY,
        prefilled: Leg | None = None,
        terms: Terms = _ANY,
    ) -> Route | Wait:
        """Where `sized` should go now. Excluded workers are taken only if there are no others.

        With `prefilled` only a decode worker is chosen.
        """
        search = self._search(self._pools, sized, now_s, exclude, terms)
        if prefilled is None:
            found = search.head()
            if isinstance(found, _Lack) and found.reason is _NO_TIME and sized.model.idle:
                at_any_time = replace(terms, due_s=inf)
                found = self._search(self._pools, sized, now_s, exclude, at_any_time).head()
        else:
            found = search.decode(self._pools[prefilled.pool_id].spec.dialect)
        if isinstance(found, _Choice):
            return _route(sized, found, prefilled)
        if exclude and found.reason is _NO_WORKER:
            return self.choose(sized, now_s, prefilled=prefilled, terms=terms)
        return Wait(
            request_class=sized.request_class,
            isl_tokens=sized.isl_tokens,
            osl_tokens=sized.osl_tokens,
            reason=found.reason,
            stage=found.stage,
            wanted=frozenset(search.wanted),
        )

    def may_help(
        self, pool: Pool, sized: Sized, now_s: float, lacking: Stage, *, prefilled: bool
    ) -> bool:
        """Whether a request that had to wait may go now that there is more room in `pool`.

        `lacking`: the stage that its `Wait` named. No is certain, yes is not.
        """
        model, role = sized.model, pool.spec.role
        if pool.spec.model != model.name or pool.id in sized.too_short:
            return False
        decodes = role is not Role.PREFILL
        pairs_only = model.pairs_only
        if model.direct_below_tokens and pairs_only:
            pairs_only = not _may_be_direct(pool, sized, now_s)
        # In pairs, what lacks is lacking with whatever pool of the other stage.
        if (prefilled or pairs_only) and decodes is (lacking is _PREFILL):
            return False
        worker = pool.least_loaded(now_s, _NOBODY, sized.kv_tokens if decodes else 0)
        if worker is None:
            return False
        if decodes and not pool.has_decode_room(worker, sized.kv_tokens, sized.itl_s):
            return False
        return role is Role.DECODE or pool.has_prefill_room(worker)

    def sent(self, sized: Sized, route: Route, *, prefilled: bool) -> None:
        """The request was sent there: the turns move on."""
        name, model, shares = sized.request_class.name, sized.model, self._pools.shares
        if route.prefill is None:
            if route.direct:
                shares(name, model, _DECODE).sent(route.decode.pool_id)
                if route.instead_of is not None:
                    shares(name, model, _PREFILL).sent(route.instead_of)
            else:
                shares(name, model, _PREFILL).sent(route.decode.pool_id)
            return
        if not prefilled:
            shares(name, model, _PREFILL).sent(route.prefill.pool_id)
        shares(name, model, _DECODE).sent(route.decode.pool_id)


@dataclass(slots=True)
class _Choice:
    """One way to do a stage (or both); `kept` counts the targets it is predicted to keep.

    `direct`: a decode worker does both, in place of a pair with `instead_of`.
    """

    pool: Pool
    worker: Worker
    kept: int
    decode: "_Choice | None" = None
    reason: RouteReason = _SHARE
    direct: bool = False
    instead_of: Pool | None = None
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class _Lack:
    """Why there is no choice: of what, in which stage."""

    reason: WaitReason
    stage: Stage


_FULL = {stage: _Lack(WaitReason.NO_ROOM, stage) for stage in Stage}
_EMPTY = {stage: _Lack(WaitReason.NO_WORKER, stage) for stage in Stage}
_NO_TIME = WaitReason.NO_TIME
_TOO_LATE = _Lack(_NO_TIME, _PREFILL)
_NO_PREFILL_ROOM, _NO_DECODE_ROOM = _FULL[_PREFILL], _FULL[_DECODE]
_NO_PREFILL_WORKER, _NO_DECODE_WORKER = _EMPTY[_PREFILL], _EMPTY[_DECODE]
_Found = _Choice | _Lack


class _Search:
    """The candidates for one request at one instant."""

    __slots__ = (
        "_decodes",
        "_dialect",
        "_exclude",
        "_now_s",
        "_pools",
        "_sized",
        "_terms",
        "wanted",
    )

    def __init__(
        self,
        pools: Pools,
        sized: Sized,
        now_s: float,
        exclude: frozenset[WorkerId],
        terms: Terms,
    ) -> None:
        self._pools = pools
        self._sized = sized
        self._now_s = now_s
        self._exclude = exclude
        self._terms = terms
        self._decodes: dict[str, _Found] = {}
        self._dialect = ""
        self.wanted: list[PoolId] = []

    def head(self) -> _Found:
        """An agg pool, or a prefill pool with the decode pool that goes with it."""
        found = self._stage(_PREFILL, self._head_in, _ALL_KEPT)
        if found is _NO_PREFILL_WORKER and self._sized.model.runs_on_decode:
            return self._without_prefill()
        return found

    def decode(self, dialect: str) -> _Found:
        """The decode pool for a prefill leg in `dialect`."""
        found = self._decodes.get(dialect)
        if found is None:
            self._dialect = dialect
            found = self._decodes[dialect] = self._stage(_DECODE, self._decode_in, 1)
        return found

    def _stage(self, stage: Stage, choice_in: Callable[[Pool], _Found], marks: int) -> _Found:
        sized = self._sized
        shares = self._pools.shares(sized.request_class.name, sized.model, stage)
        found = self._in_turn(stage, shares, choice_in, marks)
        if isinstance(found, _Lack) and found.reason is _NO_WORKER:
            found = self._best(shares.others, choice_in, marks, found)
            if isinstance(found, _Choice):
                found.reason = RouteReason.LAST_RESORT
        return found

    def _in_turn(
        self, stage: Stage, shares: Shares, choice_in: Callable[[Pool], _Found], marks: int
    ) -> _Found:
        """The best pool by turn, then by spill order; by turn alone without a plan."""
        sized, weights = self._sized, shares.weights
        found: _Found = _EMPTY[stage]
        if not weights:
            return found
        first = self._pools[shares.turns.next(weights)]
        if sized.ties is not None and stage is _PREFILL and len(weights) > 1:
            first = self._home(first, weights)
        if first.id not in sized.too_short:
            found = choice_in(first)
            if isinstance(found, _Choice) and found.kept == marks:
                return found
        others = shares.spill
        if not shares.planned:
            others = tuple(self._pools[pool_id] for pool_id in shares.turns.order(weights))
        return self._best([p for p in others if p is not first], choice_in, marks, found)

    def _best(
        self,
        pools: Iterable[Pool],
        choice_in: Callable[[Pool], _Found],
        marks: int,
        found: _Found,
    ) -> _Found:
        """The first that keeps all targets, else who keeps most; `found` comes before them."""
        too_short = self._sized.too_short
        for pool in pools:
            if pool.id not in too_short:
                choice = choice_in(pool)
                if isinstance(choice, _Choice):
                    if choice.kept == marks:
                        choice.reason = _SPILL
                        return choice
                    if isinstance(found, _Lack) or choice.kept > found.kept:
                        found = choice
                elif isinstance(found, _Lack) and (
                    found.reason is _NO_WORKER or choice.reason is _NO_TIME
                ):
                    found = choice
        if isinstance(found, _Choice):
            found.reason = RouteReason.OVERLOAD
        return found

    def _home(self, turn: Pool, weights: Mapping[PoolId, float]) -> Pool:
        """The pool that has most of the prompt, if it has much more than the one whose turn it is.

        Only where the prompt would be done sooner there all the same.
        """
        home, most = turn, self._most_cached(turn) + self._sized.isl_tokens // _MUCH
        for pool_id in weights:
            pool = self._pools[pool_id]
            cached_tokens = self._most_cached(pool)
            if cached_tokens > most:
                home, most = pool, cached_tokens
        if home is turn or home.id in self._sized.too_short:
            return turn
        return home if self._done_s(home) < self._done_s(turn) else turn

    def _most_cached(self, pool: Pool) -> int:
        ties, reuse = self._sized.ties, pool.reuse
        if ties is None or reuse is None:
            return 0
        return reuse.most_cached_tokens(ties, self._sized.isl_tokens, self._now_s)

    def _done_s(self, pool: Pool) -> float:
        """Seconds until the prompt is done on the pool's best worker."""
        ties, isl_tokens = self._sized.ties, self._sized.isl_tokens
        worker = pool.least_loaded(self._now_s, self._exclude)
        if worker is None or ties is None:
            return inf
        return pool.by_reuse(worker, ties, isl_tokens, self._now_s, self._exclude)[0][0]

    def _head_in(self, pool: Pool) -> _Found:
        """On the worker that has done most of the prompt for its load, else the least loaded."""
        sized, agg = self._sized, pool.mixes
        if sized.model.direct_below_tokens and not agg:
            direct = self._direct_in(pool)
            if direct is not None:
                return direct
        worker = pool.least_loaded(self._now_s, self._exclude, sized.kv_tokens if agg else 0)
        if worker is None:
            return _NO_PREFILL_WORKER
        head_on = self._agg_on if agg else self._prefill_on
        ties = sized.ties
        if ties is None:
            return head_on(pool, worker, 0)
        found: _Found | None = None
        for _, cached_tokens, each in pool.by_reuse(
            worker, ties, sized.isl_tokens, self._now_s, self._exclude
        ):
            choice = head_on(pool, each, cached_tokens)
            if isinstance(choice, _Choice):
                choice.cached_tokens = cached_tokens
                if choice.kept == _ALL_KEPT:
                    return choice
                if not isinstance(found, _Choice) or choice.kept > found.kept:
                    found = choice
            elif not isinstance(found, _Choice):
                found = choice
        return found or _NO_PREFILL_WORKER

    def _prefill_on(self, pool: Pool, worker: Worker, cached_tokens: int) -> _Found:
        sized = self._sized
        new_tokens = sized.isl_tokens - cached_tokens
        decode = self.decode(pool.spec.dialect)
        if not isinstance(decode, _Choice):
            return decode
        terms = self._terms
        room = pool.has_prefill_room(worker, yields=terms.yields, late=terms.late)
        if not room or self._barred(pool):
            return _NO_PREFILL_ROOM
        if terms.hopeless and not pool.takes_hopeless(self._now_s):
            return _NO_PREFILL_ROOM
        transfer_s = decode.pool.transfer_s(sized.isl_tokens)
        if terms.due_s == inf:
            ttft_s = pool.prefill_s(worker, new_tokens) + transfer_s
            return _Choice(pool, worker, (ttft_s <= sized.ttft_s) + decode.kept, decode)
        left_s = terms.due_s - self._now_s - transfer_s
        left_s -= decode.pool.itl_s(decode.worker, sized.kv_tokens)
        if self._too_late(pool, worker, new_tokens, left_s):
            return _TOO_LATE
        return _Choice(pool, worker, 1 + decode.kept, decode)

    def _direct_in(self, pool: Pool) -> _Choice | None:
        """Without `pool`, if little is to be computed and a decode worker has room to spare."""
        choice = self._direct(pool.spec.dialect)
        if choice is not None:
            choice.instead_of = pool
        return choice

    def _direct(self, dialect: str) -> _Choice | None:
        """A decode worker that has little to compute and room to spare."""
        decode = self.decode(dialect)
        sized, terms = self._sized, self._terms
        if not (isinstance(decode, _Choice) and decode.kept) or terms.late or terms.hopeless:
            return None
        left_s = sized.ttft_s if terms.due_s == inf else terms.due_s - self._now_s
        for first_s, cached_tokens, at, worker in self._directs(decode, dialect):
            if first_s > left_s:
                return None
            new_tokens = sized.isl_tokens - cached_tokens
            if at.spares_room(worker, new_tokens, sized.kv_tokens, sized.itl_s):
                choice = _Choice(at, worker, _ALL_KEPT, direct=True)
                choice.cached_tokens = cached_tokens
                return choice
        return None

    def _directs(self, decode: _Choice, dialect: str) -> list[tuple[float, int, Pool, Worker]]:
        """Decode workers that would have little to compute, the soonest done first.

        With the seconds until that is, and how much of the prompt they have: those who have
        something of it, and who would get it after a prefill leg.
        """
        sized, now_s = self._sized, self._now_s
        isl_tokens, below = sized.isl_tokens, sized.model.direct_below_tokens
        found: list[tuple[float, int, Pool, Worker]] = []
        at, next_one, ties = decode.pool, decode.worker, sized.ties
        if ties is not None:
            shares = self._pools.shares(sized.request_class.name, sized.model, _DECODE)
            for keeper in sized.model.decodes:
                if keeper.spec.dialect != dialect or keeper.id in sized.too_short:
                    continue
                if keeper is not at and keeper.id not in shares.weights:
                    continue
                for worker, tokens in keeper.keepers(ties, isl_tokens, now_s, self._exclude):
                    if isl_tokens - tokens < below:
                        first_s = keeper.direct_s(worker, isl_tokens - tokens)
                        found.append((first_s, tokens, keeper, worker))
        if isl_tokens < below and not any(each[3] is next_one for each in found):
            found.append((at.direct_s(next_one, isl_tokens), 0, at, next_one))
        if len(found) > 1:
            found.sort(key=_by_first)
        return found

    def _without_prefill(self) -> _Found:
        """Any decode worker with room, since nobody else can compute the prompt.

        One that has most of it before others.
        """
        lack: _Found = _NO_DECODE_WORKER
        for dialect in dict.fromkeys(pool.spec.dialect for pool in self._sized.model.decodes):
            found = self.decode(dialect)
            if isinstance(found, _Choice):
                keeper = self._direct(dialect) if self._sized.model.direct_below_tokens else None
                if keeper is not None:
                    keeper.reason = RouteReason.NO_PREFILL
                    return keeper
                if found.pool.has_direct_room(found.worker):
                    reason = RouteReason.NO_PREFILL
                    return _Choice(found.pool, found.worker, 0, reason=reason, direct=True)
                found = _NO_DECODE_ROOM
            if lack is _NO_DECODE_WORKER:
                lack = found
        return lack

    def _agg_on(self, pool: Pool, worker: Worker, cached_tokens: int) -> _Found:
        sized = self._sized
        new_tokens = sized.isl_tokens - cached_tokens
        terms = self._terms
        if not (
            pool.has_prefill_room(worker, yields=terms.yields, late=terms.late)
            and not self._barred(pool)
            and pool.has_decode_room(worker, sized.kv_tokens, sized.itl_s, late=terms.late)
        ):
            return _NO_PREFILL_ROOM
        if terms.hopeless and not pool.takes_hopeless(self._now_s):
            return _NO_PREFILL_ROOM
        left_s = terms.due_s - self._now_s
        if left_s < inf and self._too_late(pool, worker, new_tokens, left_s):
            return _TOO_LATE
        kept = sized.ttft_s == inf or pool.prefill_s(worker, new_tokens) <= sized.ttft_s
        return _Choice(pool, worker, kept + self._keeps_itl(pool, worker))

    def _barred(self, pool: Pool) -> bool:
        """Whether others need all that the pool can prefill."""
        terms = self._terms
        crowded = terms.yields and not terms.late and pool.crowded
        return pool.id in terms.barred or crowded

    def _too_late(self, pool: Pool, worker: Worker, new_tokens: int, left_s: float) -> bool:
        """Whether the prompt would take longer than this; wanted if it is for what is queued."""
        if pool.crowded_prefill_s(worker, new_tokens, self._now_s) <= left_s:
            return False
        if pool.idle_first_s(new_tokens) <= left_s:
            self.wanted.append(pool.id)
        return True

    def _decode_in(self, pool: Pool) -> _Found:
        """In a pool that speaks the dialect of the prefill leg."""
        if pool.spec.dialect != self._dialect:
            return _NO_DECODE_WORKER
        sized = self._sized
        worker = pool.least_loaded(self._now_s, self._exclude, sized.kv_tokens)
        if worker is None:
            return _NO_DECODE_WORKER
        late = self._terms.late
        if not pool.has_decode_room(worker, sized.kv_tokens, sized.itl_s, late=late):
            return _NO_DECODE_ROOM
        return _Choice(pool, worker, int(self._keeps_itl(pool, worker)))

    def _keeps_itl(self, pool: Pool, worker: Worker) -> bool:
        sized = self._sized
        return sized.itl_s == inf or pool.itl_s(worker, sized.kv_tokens) <= sized.itl_s


class _CellSearch(_Search):
    """Tries the pools of a cell one by one, the next one only where nobody is there to try.

    Pools of which a worker has failed the request come last.
    """

    __slots__ = ()

    def _stage(self, stage: Stage, choice_in: Callable[[Pool], _Found], marks: int) -> _Found:
        sized = self._sized
        shares = self._pools.shares(sized.request_class.name, sized.model, stage)
        if not shares.in_order:
            return super()._stage(stage, choice_in, marks)
        found: _Found = _EMPTY[stage]
        for pool in sorted(shares.spill, key=self._has_failed):
            if pool.id in sized.too_short:
                continue
            found = choice_in(pool)
            if isinstance(found, _Choice):
                found.reason = RouteReason.CELL if pool is shares.spill[0] else _SPILL
                return found
            if found.reason is not WaitReason.NO_WORKER:
                return found
        return found

    def _has_failed(self, pool: Pool) -> bool:
        return any(worker_id in pool.workers for worker_id in self._exclude)


def _may_be_direct(pool: Pool, sized: Sized, now_s: float) -> bool:
    """Whether the pool, if it is a decode pool with room, may compute the prompt."""
    below = sized.model.direct_below_tokens
    if sized.isl_tokens < below:
        return True
    kept_tokens = pool.keeps(sized.ties, sized.isl_tokens, now_s)
    return sized.isl_tokens - kept_tokens < below


def _route(sized: Sized, found: _Choice, prefilled: Leg | None) -> Route:
    decode = found.decode
    reason = found.reason
    instead_of = None
    if found.instead_of is not None:
        reason, instead_of = RouteReason.DIRECT, found.instead_of.id
    if decode is None:
        head, decode = prefilled, found
    else:
        head = Leg(found.pool.id, found.worker.endpoint, found.cached_tokens)
        if decode.reason is not reason:
            reason = max(reason, decode.reason, key=_SEVERITY.__getitem__)
    return Route(
        sized.request_class,
        sized.isl_tokens,
        sized.osl_tokens,
        head,
        Leg(decode.pool.id, decode.worker.endpoint, decode.cached_tokens),
        reason,
        found.direct,
        instead_of,
    )
