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
    """Sums over the `workers` whose samples are fresh."""

    workers: int
    running: int
    waiting: int
    waiting_tokens: int
    kv_used_tokens: int
    kv_total_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The pool at one moment; None is unknown.

    `rate_rps`, `ttft_s` and `itl_s` (at `percentile`) are over the last seconds; `in_flight`
    and `queued_tokens` are the routers' newest counts. `age_s` is that of the newest sample.
    """

    age_s: float | None
    rate_rps: float | None = None
    in_flight: int | None = None
    queued_tokens: int | None = None
    ttft_s: float | None = None
    itl_s: float | None = None
    engines: EngineLoad | None = None
