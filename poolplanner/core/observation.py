"""What is known of a pool at one moment. None is unknown, never zero."""

from dataclasses import dataclass

from weir.domain.telemetry import ClassTraffic

__all__ = ["Arrivals", "ClassTotals", "EngineLoad", "Observation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Offered rate over the `window_s` seconds that no earlier measurement covered."""

    rate_rps: float
    window_s: float


@dataclass(slots=True, kw_only=True)
class ClassTotals:
    """Counts of one class over the memory, all pools together."""

    arrivals: int = 0
    isl_tokens: int = 0
    completed: int = 0
    osl_tokens: int = 0

    def add(self, traffic: ClassTraffic, sign: int = 1) -> None:
        self.arrivals += sign * traffic.arrivals
        self.isl_tokens += sign * traffic.isl_tokens
        self.completed += sign * traffic.completed
        self.osl_tokens += sign * traffic.osl_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLoad:
    """Sums over `workers` engines. What not all of them can tell is None."""

    workers: int
    running: int
    waiting: int
    waiting_tokens: int | None = None
    kv_used_tokens: int | None = None
    kv_total_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The pool at one moment; None is unknown.

    `rate_rps` is the offered load of the last seconds. `ttft_s` and `itl_s` (at `percentile`)
    are over the shortest window that holds enough requests to tell. `in_flight` and
    `queued_tokens` are the routers' newest counts. `age_s` is that of the newest sample.

    `engines` is what the pool's engines hold at least, `engines_most` at most: the same while
    all of them are heard. `hit_rate` (0..1) is the share of prompt tokens found in the prefix
    cache, `accept_length` how many tokens a sequence gets of one iteration.
    """

    age_s: float | None
    rate_rps: float | None = None
    in_flight: int | None = None
    queued_tokens: int | None = None
    ttft_s: float | None = None
    itl_s: float | None = None
    engines: EngineLoad | None = None
    engines_most: EngineLoad | None = None
    hit_rate: float | None = None
    accept_length: float | None = None
