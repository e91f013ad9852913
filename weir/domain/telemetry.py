"""What routers and engines measure. Windows are model seconds that ended when it was sent.

Receivers stamp a sample with their own clock on arrival, so clock skew does not matter.
"""

from dataclasses import dataclass, field

from weir.domain.histogram import LogHistogram
from weir.domain.ids import ClassName, PoolId, RouterId, WorkerId

__all__ = ["ClassTraffic", "ForwardPassSample", "PoolTraffic", "TrafficSample"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTraffic:
    """One request class in one window, offered load before routing included.

    `arrivals` counts every request classified, also those queued, shed or abandoned;
    `isl_tokens` sums their (estimated) prompts, `osl_tokens` the output of `completed`;
    `queued` wait at the router when the window ends. Latencies are of streamed responses.

    None is unknown: `hopeless_arrivals` of the arrivals, with `hopeless_isl_tokens`, are such that
    not even an idle engine would keep their targets. `isl_tokens_sq` sums the
    squares of the other prompts, `osl_tokens_sq` those of the outputs of `completed`.
    `decoding_ms` is the time that all requests spent decoding in this window,
    `completed_decoding_ms` what those completed in it have spent in all. A request decodes from its
    first token on; from when it was sent where its answer is not streamed.
    """

    name: ClassName
    arrivals: int = 0
    isl_tokens: int = 0
    completed: int = 0
    osl_tokens: int = 0
    failed: int = 0
    shed: int = 0
    cancelled: int = 0
    queued: int = 0
    ttft_s: LogHistogram = field(default_factory=LogHistogram)
    itl_s: LogHistogram = field(default_factory=LogHistogram)
    hopeless_arrivals: int | None = None
    hopeless_isl_tokens: int | None = None
    isl_tokens_sq: int | None = None
    osl_tokens_sq: int | None = None
    decoding_ms: int | None = None
    completed_decoding_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolTraffic:
    """One pool in one window, as this router sees it.

    `direct` of the arrivals have their prompts computed there although it is a decode pool.
    `in_flight` and `queued_tokens` are the state at the end of the window; the latter counts
    prompt tokens sent whose first token is not back, and those that wait at the router for
    room in this pool; None where the source cannot tell, which no router's message says.
    `hopeless_queued_tokens` of them wait at the router with prompts that are hopeless.
    `first_token_s` is the time from sending the leg to its first byte of output;
    `osl_tokens` the output of legs completed; `cached_tokens` what of `isl_tokens` prefix caches
    held and `accept_length` how many a sequence got of one iteration, which no router's message
    says either.
    """

    pool_id: PoolId
    arrivals: int = 0
    isl_tokens: int = 0
    completed: int = 0
    osl_tokens: int = 0
    failed: int = 0
    direct: int = 0
    in_flight: int | None = 0
    queued_tokens: int | None = 0
    cached_tokens: int | None = None
    hopeless_queued_tokens: int | None = None
    accept_length: float | None = None
    first_token_s: LogHistogram = field(default_factory=LogHistogram)
    itl_s: LogHistogram = field(default_factory=LogHistogram)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSample:
    router_id: RouterId
    sequence: int
    window_s: float
    classes: tuple[ClassTraffic, ...] = ()
    pools: tuple[PoolTraffic, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardPassSample:
    """One worker's iterations in one window, aggregated beside the engine. None is unknown.

    `busy_s` is the time of the iterations that ended in the window; `running`, `waiting`,
    `waiting_tokens` (prompt tokens not yet prefilled) and `kv_used_tokens` are the state at its
    end.
    `cached_tokens` of prompts were found in the prefix cache and are not in `prefill_tokens`;
    `accept_length` is how many tokens a sequence gets of one iteration, 1 without speculation;
    `prefill_iterations` had prompt tokens in them.
    """

    pool_id: PoolId
    worker_id: WorkerId
    sequence: int
    window_s: float
    running: int
    waiting: int
    iterations: int | None = None
    busy_s: float | None = None
    prefill_tokens: int | None = None
    decode_tokens: int | None = None
    waiting_tokens: int | None = None
    kv_used_tokens: int | None = None
    kv_total_tokens: int | None = None
    preemptions: int | None = None
    completed: int | None = None
    cached_tokens: int | None = None
    accept_length: float | None = None
    prefill_iterations: int | None = None
