"""What one replica serves within its latency targets, from its profile.

The engine model is the mean-field view of continuous batching: `b` sequences decode together,
each adds a token per iteration, so `b / (osl * iteration)` requests finish per second. Targets
bound `b` (ITL), the queue for prefill (TTFT) and the KV space. Waiting for prefill is the
heavy-traffic tail of the M/D/1 queue, P(wait > t) = load * exp(-2 t (1 - load) / service)
(Tijms, "A First Course in Stochastic Models", 2003, ch. 9), a single replica's view: pools
with many replicas wait less.
"""

import math
from dataclasses import dataclass

from weir.domain.fleet import Role, Slo
from weir.domain.profile import EngineProfile

__all__ = ["prefill_backlog_s", "replica_capacity_rps"]

_LEAST_SHARE_OF_UTILIZATION = 0.5
"""A target hardly met even by an idle replica is not chased by leaving replicas idle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    profile: EngineProfile
    slo: Slo
    isl_tokens: int
    osl_tokens: int
    utilization: float

    @property
    def sequence_kv_tokens(self) -> int:
        """KV of a sequence in the middle of its output, in whole blocks."""
        block = self.profile.block_tokens
        return -(-(self.isl_tokens + self.osl_tokens // 2) // block) * block

    @property
    def max_batch(self) -> int:
        """Sequences that fit the KV space and the engine's limit."""
        return min(self.profile.max_sequences, self.profile.kv_tokens // self.sequence_kv_tokens)

    @property
    def transfer_s(self) -> float:
        """Seconds to pull the prompt's KV from a prefill to a decode replica."""
        return self.isl_tokens / (self.profile.kv_transfer_tokens_per_s * self.profile.speed)

    def decode_s(self, batch: int) -> float:
        """Seconds of an iteration that only decodes."""
        return self.profile.iteration_s(
            prefill_tokens=0, sequences=batch, kv_used_tokens=batch * self.sequence_kv_tokens
        )


def replica_capacity_rps(
    profile: EngineProfile,
    role: Role,
    slo: Slo,
    isl_tokens: float,
    osl_tokens: float,
    *,
    utilization: float = 1.0,
    context_limit_tokens: int | None = None,
) -> float | None:
    """Requests/s of this length that one replica serves within `slo`; None: it cannot.

    `utilization` (0..1] is the share of the full rate that a replica is planned to carry; it
    is included in the result. A decode pool's TTFT counts the KV transfer and its first
    iteration; a prefill pool's the queue, the prefill and the transfer. Never decreases
    when a target is loosened.

    Raises `ValueError` if a length is negative or not finite, or `utilization` is out of range.
    """
    if not (math.isfinite(isl_tokens) and math.isfinite(osl_tokens)):
        raise ValueError(f"lengths must be finite, not {isl_tokens} and {osl_tokens}")
    if min(isl_tokens, osl_tokens) < 0.0:
        raise ValueError(f"lengths must be >= 0, not {isl_tokens} and {osl_tokens}")
    if not 0.0 < utilization <= 1.0:
        raise ValueError(f"utilization must be in (0, 1], not {utilization}")
    case = _Case(
        profile=profile,
        slo=slo,
        isl_tokens=max(1, math.ceil(isl_tokens)),
        osl_tokens=max(1, math.ceil(osl_tokens)),
        utilization=utilization,
    )
    sequence_tokens = case.isl_tokens + (0 if role is Role.PREFILL else case.osl_tokens)
    if context_limit_tokens is not None and sequence_tokens > context_limit_tokens:
        return None
    if sequence_tokens > profile.kv_tokens:
        return None
    return _BY_ROLE[role](case)


def prefill_backlog_s(profile: EngineProfile, queued_tokens: float) -> float:
    """Seconds in which one replica prefills `queued_tokens`, with full iterations."""
    full = profile.max_batched_tokens
    full_s = profile.iteration_s(prefill_tokens=full, sequences=0, kv_used_tokens=0)
    return max(0.0, queued_tokens) * full_s / full


def _prefill_rps(case: _Case) -> float | None:
    together = max(1, case.profile.max_batched_tokens // case.isl_tokens)
    best: float | None = None
    for batch in range(1, min(together, case.max_batch) + 1):
        service_s = case.profile.idle_prefill_s(batch * case.isl_tokens)
        wait_s = case.slo.ttft_s - service_s - case.transfer_s
        if wait_s < 0.0:
            continue
        least = _LEAST_SHARE_OF_UTILIZATION * case.utilization
        rate_rps = _planned_share(case, service_s, wait_s, least=least) * batch / service_s
        best = rate_rps if best is None else max(best, rate_rps)
    return best


def _decode_rps(case: _Case) -> float | None:
    best: float | None = None
    for batch in range(1, case.max_batch + 1):
        itl_s = case.decode_s(batch)
        if itl_s > case.slo.itl_s or case.transfer_s + itl_s > case.slo.ttft_s:
            continue
        rate_rps = case.utilization * batch / (case.osl_tokens * itl_s)
        best = rate_rps if best is None else max(best, rate_rps)
    return best


def _agg_rps(case: _Case) -> float | None:
    best: float | None = None
    prefill_s = case.profile.idle_prefill_s(case.isl_tokens)
    chunks = _chunks(case.profile, case.isl_tokens)
    for batch in range(1, case.max_batch + 1):
        itl_s = _agg_itl_s(case, batch)
        if itl_s is None or itl_s > case.slo.itl_s:
            continue
        full_rps = batch / (case.osl_tokens * itl_s)
        wait_s = case.slo.ttft_s - prefill_s - chunks * case.decode_s(batch)
        if wait_s < 0.0:
            continue
        share = _planned_share(case, prefill_s, wait_s, full_load=full_rps * prefill_s)
        rate_rps = share * full_rps
        best = rate_rps if best is None else max(best, rate_rps)
    return best


def _agg_itl_s(case: _Case, batch: int) -> float | None:
    """Mean iteration while `batch` sequences decode and their successors are prefilled.

    None if an iteration has no room for the prompts that keep the batch full.
    """
    profile = case.profile
    arrivals = batch / case.osl_tokens
    prompt_tokens = arrivals * case.isl_tokens
    if prompt_tokens > profile.max_batched_tokens - batch:
        return None
    if arrivals <= 1.0:
        prefill_s = arrivals * profile.idle_prefill_s(case.isl_tokens)
    else:
        prefill_s = profile.idle_prefill_s(math.ceil(prompt_tokens))
    return case.decode_s(batch) + prefill_s


def _chunks(profile: EngineProfile, isl_tokens: int) -> int:
    return -(-isl_tokens // profile.max_batched_tokens) if profile.chunked_prefill else 1


def _planned_share(
    case: _Case,
    service_s: float,
    allowed_wait_s: float,
    *,
    full_load: float = 1.0,
    least: float = 0.0,
) -> float:
    """The share of the full rate, `least` to utilization, that keeps the wait's percentile.

    At the full rate whoever is waited for has the load `full_load`.
    """
    low, high = least, case.utilization

    def fits(share: float) -> bool:
        load = min(share * full_load, 1.0 - 1e-9)
        return _wait_s(load, service_s, case.slo.percentile) <= allowed_wait_s

    if fits(high):
        return high
    if not fits(low):
        return low
    for _ in range(20):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _wait_s(load: float, service_s: float, percentile: float) -> float:
    """Quantile of the time a prompt waits for others at this load (0..1)."""
    beyond = max(1e-3, 1.0 - percentile)
    if load <= beyond:
        return 0.0
    return service_s * math.log(load / beyond) / (2.0 * (1.0 - load))


_BY_ROLE = {Role.PREFILL: _prefill_rps, Role.DECODE: _decode_rps, Role.AGG: _agg_rps}
