"""What is known of a pool at one moment. None is unknown, never zero."""

from dataclasses import dataclass, field

from weir.domain.telemetry import ClassTraffic

__all__ = ["Arrivals", "ClassTotals", "EngineLoad", "Moments", "Observation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Offered rate over the `window_s` seconds that no earlier measurement covered."""

    rate_rps: float
    window_s: float


@dataclass(slots=True, kw_only=True)
class Moments:
    """`count` lengths, their sum and that of their squares."""

    count: int = 0
    total: int = 0
    square: int = 0

    def add(self, count: int, total: int, square: int | None, sign: int) -> None:
        """None of `square` is unknown: these lengths are left out."""
        if square is not None:
            self.count += sign * count
            self.total += sign * total
            self.square += sign * square

    @property
    def spread(self) -> float | None:
        """Squared coefficient of variation; None of nothing."""
        if self.count <= 0 or self.total <= 0:
            return None
        return max(0.0, self.count * self.square / (self.total * self.total) - 1.0)


@dataclass(slots=True, kw_only=True)
class ClassTotals:
    """Counts of one class over the memory, all pools together.

    Hopeless are those of the arrivals that even an idle engine would answer too late, as far as
    routers tell; `prompts` are the others', `outputs` those of completed requests.
    """

    arrivals: int = 0
    isl_tokens: int = 0
    hopeless_arrivals: int = 0
    hopeless_isl_tokens: int = 0
    prompts: Moments = field(default_factory=Moments)
    outputs: Moments = field(default_factory=Moments)

    def add(self, traffic: ClassTraffic, sign: int = 1) -> None:
        hopeless = traffic.hopeless_arrivals or 0
        hopeless_tokens = traffic.hopeless_isl_tokens or 0
        self.arrivals += sign * traffic.arrivals
        self.isl_tokens += sign * traffic.isl_tokens
        self.hopeless_arrivals += sign * hopeless
        self.hopeless_isl_tokens += sign * hopeless_tokens
        self.prompts.add(
            traffic.arrivals - hopeless,
            traffic.isl_tokens - hopeless_tokens,
            traffic.isl_tokens_sq,
            sign,
        )
        self.outputs.add(traffic.completed, traffic.osl_tokens, traffic.osl_tokens_sq, sign)


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

    `rate_rps` is the offered load of the last seconds. `ttft_s` and `itl_s` (at a percentile,
    or in the mean) are over the shortest window that holds enough requests to tell. `in_flight` and
    `queued_tokens` are the routers' newest counts; `hopeless_queued_tokens` of the latter wait at
    the routers with prompts that cannot be in time. `age_s` is that of the newest sample.

    `engines` is what the pool's engines hold at least, `engines_most` at most: the same while
    all of them are heard. `hit_rate` (0..1) is the share of prompt tokens found in the prefix
    cache, `accept_length` how many tokens a sequence gets of one iteration.
    """

    age_s: float | None
    rate_rps: float | None = None
    in_flight: int | None = None
    queued_tokens: int | None = None
    hopeless_queued_tokens: int = 0
    ttft_s: float | None = None
    itl_s: float | None = None
    engines: EngineLoad | None = None
    engines_most: EngineLoad | None = None
    hit_rate: float | None = None
    accept_length: float | None = None
