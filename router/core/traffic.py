"""What went through this router: windows for the planners, totals for the metrics.

Invariant, for each class at every instant: arrivals = completed + failed + shed + cancelled
+ open, where open ones are either queued at the router or in flight.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from router.core.request import Outcome, RetryReason, RouteReason, ShedReason
from weir.domain.histogram import LogHistogram
from weir.domain.ids import ClassName, PoolId, RouterId
from weir.domain.legs import WithoutPrefill
from weir.domain.telemetry import ClassTraffic, PoolTraffic, TrafficSample

__all__ = ["BucketHistogram", "ClassLog", "EjectionReason", "Held", "PoolLog", "Traffic"]

_TTFT_EDGES_S = (0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
_ITL_EDGES_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
_DURATION_EDGES_S = (0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 20, 40, 60, 120)
_COMPLETED = Outcome.COMPLETED


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Prompt tokens that wait at the router; `hopeless_tokens` of them cannot be in time."""

    tokens: int = 0
    hopeless_tokens: int = 0


_NOTHING = Held()


class BucketHistogram:
    """Counts by fixed upper edges and a sum, for Prometheus. The last count is +Inf's."""

    __slots__ = ("counts", "edges", "sum_s")

    def __init__(self, edges: Sequence[float]) -> None:
        self.edges = tuple(edges)
        self.counts = [0] * (len(self.edges) + 1)
        self.sum_s = 0.0

    def add(self, value_s: float) -> None:
        self.counts[bisect_left(self.edges, value_s)] += 1
        self.sum_s += value_s


@dataclass(slots=True)
class _ClassWindow:
    arrivals: int = 0
    isl_tokens: int = 0
    osl_tokens: int = 0
    hopeless: int = 0
    hopeless_tokens: int = 0
    isl_tokens_sq: int = 0
    osl_tokens_sq: int = 0
    decoding_s: float = 0.0
    completed_decoding_s: float = 0.0
    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    ttft_s: LogHistogram = field(default_factory=LogHistogram)
    itl_s: LogHistogram = field(default_factory=LogHistogram)


class ClassLog:
    """One request class: the open window, the state now, and totals since the start."""

    def __init__(self) -> None:
        self._window = _ClassWindow()
        self.arrivals = 0
        self.outcomes = dict.fromkeys(Outcome, 0)
        self.sheds = dict.fromkeys(ShedReason, 0)
        """Why those were shed that were."""
        self.queued = 0
        self.open = 0
        self._decoding = 0
        self.ttft_s = BucketHistogram(_TTFT_EDGES_S)
        self.itl_s = BucketHistogram(_ITL_EDGES_S)
        self.duration_s = BucketHistogram(_DURATION_EDGES_S)

    def arrived(self, isl_tokens: int, *, hopeless: bool = False) -> None:
        """`hopeless`: not even an idle engine would keep its targets."""
        window = self._window
        window.arrivals += 1
        window.isl_tokens += isl_tokens
        if hopeless:
            window.hopeless += 1
            window.hopeless_tokens += isl_tokens
        else:
            window.isl_tokens_sq += isl_tokens * isl_tokens
        self.arrivals += 1
        self.open += 1

    def first_token(self, ttft_s: float) -> None:
        self._window.ttft_s.add(ttft_s)
        self.ttft_s.add(ttft_s)

    def decodes(self, now_s: float) -> None:
        """One more request decodes, until `decoded`."""
        self._window.decoding_s -= now_s
        self._decoding += 1

    def decoded(self, now_s: float) -> None:
        self._window.decoding_s += now_s
        self._decoding -= 1

    def ended(
        self,
        outcome: Outcome,
        *,
        duration_s: float,
        decoding_s: float,
        osl_tokens: int,
        itl_s: float | None,
    ) -> None:
        """`osl_tokens` and `decoding_s` count only for completed requests."""
        window = self._window
        window.outcomes[outcome] += 1
        self.outcomes[outcome] += 1
        self.open -= 1
        if outcome is _COMPLETED:
            window.osl_tokens += osl_tokens
            window.completed_decoding_s += decoding_s
            window.osl_tokens_sq += osl_tokens * osl_tokens
            self.duration_s.add(duration_s)
        if itl_s is not None:
            window.itl_s.add(itl_s)
            self.itl_s.add(itl_s)

    def close_window(self, name: ClassName, now_s: float) -> ClassTraffic:
        window, self._window = self._window, _ClassWindow()
        self._window.decoding_s = -self._decoding * now_s
        decoding_s = window.decoding_s + self._decoding * now_s
        return ClassTraffic(
            name=name,
            arrivals=window.arrivals,
            isl_tokens=window.isl_tokens,
            completed=window.outcomes[_COMPLETED],
            osl_tokens=window.osl_tokens,
            failed=window.outcomes[Outcome.FAILED],
            shed=window.outcomes[Outcome.SHED],
            cancelled=window.outcomes[Outcome.CANCELLED],
            queued=self.queued,
            ttft_s=window.ttft_s,
            itl_s=window.itl_s,
            hopeless_arrivals=window.hopeless,
            hopeless_isl_tokens=window.hopeless_tokens,
            isl_tokens_sq=window.isl_tokens_sq,
            osl_tokens_sq=window.osl_tokens_sq,
            decoding_ms=round(1000.0 * max(0.0, decoding_s)),
            completed_decoding_ms=round(1000.0 * window.completed_decoding_s),
        )


class EjectionReason(StrEnum):
    """Why a worker gets nothing for a while: a request failed; many more fail than elsewhere in
    its pool; it has not moved on for long.
    """

    FAILURE = "failure"
    ERRORS = "errors"
    STUCK = "stuck"


@dataclass(slots=True)
class _PoolWindow:
    arrivals: int = 0
    isl_tokens: int = 0
    completed: int = 0
    osl_tokens: int = 0
    failed: int = 0
    direct: int = 0
    first_token_s: LogHistogram = field(default_factory=LogHistogram)
    itl_s: LogHistogram = field(default_factory=LogHistogram)


class PoolLog:
    """One pool's legs: the open window, the state now, and totals since the start."""

    def __init__(self) -> None:
        self._window = _PoolWindow()
        self.requests = 0
        self.failed = 0
        self.ejections = dict.fromkeys(EjectionReason, 0)
        self.in_flight = 0
        self.queued_tokens = 0

    def sent(self, isl_tokens: int) -> None:
        self._window.arrivals += 1
        self._window.isl_tokens += isl_tokens
        self.requests += 1
        self.in_flight += 1

    def entered(self) -> None:
        """The leg that was just sent has its prompt computed there, in a decode pool."""
        self._window.direct += 1

    def first_token(self, seconds: float) -> None:
        self._window.first_token_s.add(seconds)

    def completed(self, osl_tokens: int, itl_s: float | None) -> None:
        self._window.completed += 1
        self._window.osl_tokens += osl_tokens
        if itl_s is not None:
            self._window.itl_s.add(itl_s)

    def leg_failed(self) -> None:
        self._window.failed += 1
        self.failed += 1

    def close_window(self, pool_id: PoolId, held: Held) -> PoolTraffic:
        window, self._window = self._window, _PoolWindow()
        return PoolTraffic(
            pool_id=pool_id,
            arrivals=window.arrivals,
            isl_tokens=window.isl_tokens,
            completed=window.completed,
            osl_tokens=window.osl_tokens,
            failed=window.failed,
            direct=window.direct,
            in_flight=self.in_flight,
            queued_tokens=self.queued_tokens + held.tokens,
            hopeless_queued_tokens=held.hopeless_tokens,
            first_token_s=window.first_token_s,
            itl_s=window.itl_s,
        )


class Traffic:
    """Logs of all classes and pools; none is ever added or removed, so readers need no lock."""

    def __init__(self, classes: Iterable[ClassName], pools: Mapping[PoolId, PoolLog]) -> None:
        self.classes = {name: ClassLog() for name in classes}
        self.pools = dict(pools)
        self.retries = dict.fromkeys(RetryReason, 0)
        self.routes = dict.fromkeys(RouteReason, 0)
        self.without_prefill = dict.fromkeys(WithoutPrefill, 0)
        self._sequence = 0

    def close_window(
        self, router_id: RouterId, window_s: float, held: Mapping[PoolId, Held], now_s: float
    ) -> TrafficSample:
        """The sample of the window that ends now; all classes and pools, idle ones too.

        `held`: what waits at the router for want of a pool.
        """
        self._sequence += 1
        return TrafficSample(
            router_id=router_id,
            sequence=self._sequence,
            window_s=window_s,
            classes=tuple(log.close_window(name, now_s) for name, log in self.classes.items()),
            pools=tuple(
                log.close_window(pool_id, held.get(pool_id, _NOTHING))
                for pool_id, log in self.pools.items()
            ),
        )
