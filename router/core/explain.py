"""What is known of a request's pools at the moment of its decision, for whoever asks why."""

from dataclasses import dataclass
from enum import StrEnum
from math import inf

from router.core.admit import Sized
from router.core.flight import Books, Flight
from router.core.pool import Pool
from router.core.pools import ModelPools, Pools
from router.core.request import RequestProfile, Route
from router.core.workers.worker import Worker
from weir.domain.fleet import Role, Stage
from weir.domain.ids import PoolId, WorkerId

__all__ = ["ExplainedFlight", "PoolView", "Refused", "Verdict"]

_NOBODY: frozenset[WorkerId] = frozenset()


class Verdict(StrEnum):
    """What a pool is for a request; the first that holds."""

    TOO_SHORT = "too_short"
    """Its context does not hold the request."""

    NO_WORKER = "no_worker"
    FULL = "full"
    """All that its next worker can use is there already."""

    LATE = "late"
    """The first token is predicted after the target."""

    SLOW = "slow"
    """The gap between tokens is predicted above the target."""

    FITS = "fits"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """A pool as the request found it; predictions are for the request on its next worker.

    A decode pool has a TTFT if it may compute the prompt itself.
    `share`: what the plan sends there of such requests, 0 if it leaves the pool out. None is what
    the pool does not do, or what is not known without a worker.
    """

    pool_id: PoolId
    verdict: Verdict
    share: float
    ttft_s: float | None = None
    itl_s: float | None = None
    cached_tokens: int = 0
    """Of the prompt, on that worker."""

    cached_exact: bool = False
    """Its engine has told so; else it is believed."""


class ExplainedFlight(Flight):
    """A flight that remembers what it was decided on. `pools` and `sent_on` are the last ones."""

    __slots__ = ("placed_s", "pools", "routes", "sent_on")

    def __init__(self, books: Books, profile: RequestProfile, sized: Sized, now_s: float) -> None:
        super().__init__(books, profile, sized, now_s)
        self.placed_s = now_s
        self.routes = 0
        self.sent_on: Route | None = None
        self.pools: tuple[PoolView, ...] = ()

    def sent(self, route: Route, now_s: float) -> None:
        self.see_pools(now_s)
        self.routes += 1
        self.sent_on = route
        super().sent(route, now_s)

    def see_pools(self, now_s: float) -> None:
        """Remember the pools as they are now."""
        self.placed_s = now_s
        self.pools = _views(self._books.pools, self.sized, now_s, now_s - self.arrived_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A request that was refused before it was counted: what it was taken for."""

    profile: RequestProfile
    sized: Sized
    priority: int
    pools: tuple[PoolView, ...]

    @classmethod
    def of(
        cls, pools: Pools, profile: RequestProfile, sized: Sized, priority: int, now_s: float
    ) -> "Refused":
        views = _views(pools, sized, now_s, 0.0)
        return cls(profile=profile, sized=sized, priority=priority, pools=views)


def _views(pools: Pools, sized: Sized, now_s: float, waited_s: float) -> tuple[PoolView, ...]:
    model, views = sized.model, []
    for stage in Stage:
        weights = pools.shares(sized.request_class.name, model, stage).weights
        for pool in model.of(stage):
            share = weights.get(pool.id, 0.0)
            views.append(_view(pool, sized, now_s, waited_s, share))
    return tuple(views)


def _view(pool: Pool, sized: Sized, now_s: float, waited_s: float, share: float) -> PoolView:
    cached_tokens, cached_exact = 0, False

    def view(verdict: Verdict, ttft_s: float | None = None, itl_s: float | None = None) -> PoolView:
        return PoolView(
            pool_id=pool.id,
            verdict=verdict,
            share=share,
            ttft_s=ttft_s,
            itl_s=itl_s,
            cached_tokens=cached_tokens,
            cached_exact=cached_exact,
        )

    if pool.id in sized.too_short:
        return view(Verdict.TOO_SHORT)
    role, kv_tokens = pool.spec.role, sized.kv_tokens
    worker = pool.least_loaded(now_s, _NOBODY, kv_tokens if role is not Role.PREFILL else 0)
    if worker is None:
        return view(Verdict.NO_WORKER)
    if sized.ties is not None and role is Role.DECODE:
        worker, cached_tokens = _keeper(pool, worker, sized, now_s)
    elif sized.ties is not None:
        by_reuse = pool.by_reuse(worker, sized.ties, sized.isl_tokens, now_s, _NOBODY)
        _, cached_tokens, worker = by_reuse[0]
        cached_exact = pool.reuse is not None and pool.reuse.is_exact(worker, sized.ties)
    ttft_s = itl_s = None
    room = True
    if role is not Role.DECODE:
        transfer_s = 0.0 if role is Role.AGG else _transfer_s(sized.model, pool, sized.isl_tokens)
        ttft_s = waited_s + pool.prefill_s(worker, sized.isl_tokens - cached_tokens) + transfer_s
        room = pool.has_prefill_room(worker)
    elif sized.isl_tokens - cached_tokens < sized.model.direct_below_tokens:
        ttft_s = waited_s + pool.direct_s(worker, sized.isl_tokens - cached_tokens)
    if role is not Role.PREFILL:
        itl_s = pool.itl_s(worker, kv_tokens)
        room = room and pool.has_decode_room(worker, kv_tokens, sized.itl_s)
    if not room:
        verdict = Verdict.FULL
    elif ttft_s is not None and ttft_s > sized.ttft_s and role is not Role.DECODE:
        verdict = Verdict.LATE
    elif itl_s is not None and itl_s > sized.itl_s:
        verdict = Verdict.SLOW
    else:
        verdict = Verdict.FITS
    return view(verdict, ttft_s, itl_s)


def _keeper(pool: Pool, worker: Worker, sized: Sized, now_s: float) -> tuple[Worker, int]:
    """The decode worker that has most of the prompt, else the given one; and how much that is."""
    ties, found = sized.ties, (worker, 0)
    if ties is not None:
        for keeper in pool.keepers(ties, sized.isl_tokens, now_s, _NOBODY):
            if keeper[1] > found[1]:
                found = keeper
    return found


def _transfer_s(model: ModelPools, pool: Pool, isl_tokens: int) -> float:
    """To the fastest of the decode pools that go with `pool`."""
    pairs = (p for p in model.decodes if p.spec.dialect == pool.spec.dialect)
    fastest_s = min((p.transfer_s(isl_tokens) for p in pairs), default=inf)
    return fastest_s if fastest_s < inf else 0.0
