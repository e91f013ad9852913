"""What one replica serves within its latency targets, from its profile.

The engine model is the mean-field view of continuous batching: `b` sequences decode together,
each adds a token per iteration, so `b / (osl * iteration)` requests finish per second. Targets
bound `b` (ITL), the waits (TTFT) and the KV space. Requests wait for prefill and, where replicas
decode, for a place among those that do; how long depends on the whole pool (`queueing`).

A prompt's own prefill is part of its TTFT. Lengths differ, so some requests take most of it by
themselves; more than half of it, or than the mean request takes, is not chased with idle
replicas. Whoever waits is also joined by those that come after: they share its iteration.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import lru_cache, partial

from weir.domain.fleet import Role, Slo
from weir.domain.profile import EngineProfile
from weir.sizing.case import Case
from weir.sizing.interference import Interference
from weir.sizing.queueing import LONE, Queue, greatest_share
from weir.sizing.waits import Line, Places

__all__ = ["prefill_backlog_s", "replica_capacity_rps"]

_FULL = 1.0 - 1e-9
_LEAST_SHARE_OF_UTILIZATION = 0.5
"""A target hardly met even by an idle replica is not chased by leaving replicas idle."""

_BETTER = 1.001
"""Of many numbers of sequences that carry as much one is enough."""


def replica_capacity_rps(
    profile: EngineProfile,
    role: Role,
    slo: Slo,
    isl_tokens: float,
    osl_tokens: float,
    *,
    utilization: float = 1.0,
    context_limit_tokens: int | None = None,
    queue: Queue = LONE,
    cached_share: float = 0.0,
    accept_length: float = 1.0,
) -> float | None:
    """Requests/s of this length that one replica serves within `slo`; None: it cannot.

    `utilization` (0..1] is the share of the full rate that a replica is planned to carry; it
    is included in the result; `queue` tells with whom it shares the line. `cached_share` (0..1)
    of the prompt tokens is found in the prefix cache, and a sequence gets `accept_length` tokens
    of an iteration, more than 1 with speculative decoding. A decode pool's TTFT
    counts the wait for a place, the KV transfer and its first iteration; a prefill pool's the
    queue, the prefill and the transfer. Never decreases when a target is loosened, nor with
    more replicas.

    Raises `ValueError` if a length is negative or not finite, or `utilization` is out of range.
    """
    if not (math.isfinite(isl_tokens) and math.isfinite(osl_tokens)):
        raise ValueError(f"lengths must be finite, not {isl_tokens} and {osl_tokens}")
    if min(isl_tokens, osl_tokens) < 0.0:
        raise ValueError(f"lengths must be >= 0, not {isl_tokens} and {osl_tokens}")
    if not 0.0 <= cached_share <= 1.0:
        raise ValueError(f"cached_share must be in [0, 1], not {cached_share}")
    if not 1.0 <= accept_length < math.inf:
        raise ValueError(f"accept_length must be >= 1 and finite, not {accept_length}")
    if not 0.0 < utilization <= 1.0:
        raise ValueError(f"utilization must be in (0, 1], not {utilization}")
    case = Case(
        profile=profile,
        slo=slo,
        isl_tokens=max(1, math.ceil(isl_tokens)),
        osl_tokens=max(1, math.ceil(osl_tokens)),
        utilization=utilization,
        queue=queue,
        prompt_tokens=max(1, math.ceil(isl_tokens * (1.0 - cached_share))),
        accept_length=accept_length,
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


def _prefill_rps(case: Case) -> float | None:
    together = max(1, min(case.profile.max_batched_tokens // case.prompt_tokens, case.max_batch))
    full_s = case.profile.idle_prefill_s(max(case.prompt_tokens, case.profile.max_batched_tokens))
    best: float | None = None
    for batch in _batches(together):
        service_s = case.profile.idle_prefill_s(batch * case.prompt_tokens)
        allowed_s = case.slo.ttft_s - case.transfer_s - case.reload_s
        if service_s > allowed_s:
            continue
        line = Line(case, service_s, service_s / batch, full_s, allowed_s)
        late = _of(line.mean_s, allowed_s) if case.of_mean else line.late
        best = _better(case, best, batch / service_s, late)
    return best


def _decode_rps(case: Case) -> float | None:
    places = Places(case, tuple(time_s / case.accept_length for time_s in case.decode_times_s))
    best: float | None = None
    for batch, itl_s in places.fastest_first():
        spare_s = case.slo.ttft_s - case.transfer_s - itl_s
        if itl_s > case.slo.itl_s or spare_s < 0.0:
            continue
        full_rps = places.rate_rps(batch)
        if best is not None and full_rps * case.utilization <= best:
            break
        late: Callable[[float], float] = partial(places.late, batch, spare_s)
        if case.of_mean:
            late = _of(partial(places.mean_s, batch), spare_s)
        best = _better(case, best, full_rps, late)
    return best


def _agg_rps(case: Case) -> float | None:
    prefill_s, decode_s = case.profile.idle_prefill_s(case.prompt_tokens), case.decode_times_s
    times_s = _agg_times_s(
        case.profile, decode_s, case.osl_tokens, case.prompt_tokens, case.accept_length
    )
    places, between = Places(case, times_s), Interference(case, decode_s, prefill_s)
    line_of = partial(_agg_line, case, prefill_s, decode_s)
    best, most = None, len(decode_s)
    for batch, itl_s in places.fastest_first():
        if itl_s > case.slo.itl_s or batch > most:
            continue
        full_rps, line = places.rate_rps(batch), line_of(batch)
        if line.allowed_s < prefill_s:
            continue
        if best is not None and full_rps * case.utilization <= best:
            break
        found = _better(case, best, full_rps, _agg_late(places, batch, line, between))
        if found != best:
            best, more_rps = found, found * _BETTER
            late = between.late(more_rps, places.used(batch, more_rps / full_rps))
            most = _most_sequences(line_of, most, more_rps, late)
    return best


def _agg_line(case: Case, prefill_s: float, decode_s: tuple[float, ...], batch: int) -> Line:
    """Where prompts wait beside so many sequences.

    A prompt holds up the next one for as long as the iterations take that it fills, with what
    decodes in them.
    """
    iterations = case.prompt_tokens / max(1, case.profile.max_batched_tokens - batch)
    chunks = _chunks(case.profile, case.prompt_tokens)
    allowed_s = case.slo.ttft_s - case.reload_s - chunks * decode_s[batch - 1]
    return Line(case, prefill_s, prefill_s + iterations * decode_s[batch - 1], prefill_s, allowed_s)


def _agg_late(
    places: Places, batch: int, line: Line, between: Interference
) -> Callable[[float], float]:
    """Of requests that wait for prefill and then for one of `batch` places, or for their tokens."""
    full_rps, beyond = places.rate_rps(batch), line.case.beyond
    load, spare_s = full_rps * line.service_s, max(0.0, line.allowed_s - line.own_s)

    def late(share: float) -> float:
        found = places.late(batch, spare_s, share)
        if found <= beyond:
            found += line.late(min(share * load, _FULL))
        if found <= beyond:
            found += between.late(share * full_rps, places.used(batch, share))
        return found

    def mean_s(share: float) -> float:
        return places.mean_s(batch, share) + line.mean_s(min(share * load, _FULL))

    return _of(mean_s, line.allowed_s) if line.case.of_mean else late


def _most_sequences(line_of: Callable[[int], Line], most: int, rate_rps: float, late: float) -> int:
    """Up to how many sequences prompts can be prefilled in time beside, at this rate.

    The more there are, the longer prompts wait. `late`: the share of requests whose tokens are
    late then, which is the same for any number.
    """

    def too_many(batch: int) -> bool:
        line = line_of(batch)
        return line.late(min(rate_rps * line.service_s, _FULL)) > line.case.beyond - late

    if line_of(most).case.of_mean or not too_many(most):
        return most
    return bisect_left(range(1, most), True, key=too_many)


def _better(
    case: Case, best: float | None, full_rps: float, late: Callable[[float], float]
) -> float:
    """The rate that is carried in time of this full rate, or `best` unless that is less."""
    least, most = _LEAST_SHARE_OF_UTILIZATION * case.utilization, case.utilization
    if best is not None:
        enough = best * _BETTER / full_rps
        if enough >= most or (enough > least and late(enough) > case.beyond):
            return best
    share = greatest_share(late, least=least, most=most, beyond=case.beyond)
    return max(best or 0.0, share * full_rps)


def _of(mean_s: Callable[[float], float], allowed_s: float) -> Callable[[float], float]:
    """How much of what is allowed the mean takes: more than 1 is too much."""

    def taken(share: float) -> float:
        if allowed_s == math.inf:
            return 0.0
        seconds = mean_s(share)
        if seconds <= 0.0:
            return 0.0
        return seconds / allowed_s if allowed_s > 0.0 else math.inf

    return taken


def _batches(most: int) -> Iterator[int]:
    """`most`, and the powers of 2 below it from the greatest on."""
    yield most
    batch = 1 << (most - 1).bit_length() - 1 if most > 1 else 0
    while batch:
        yield batch
        batch //= 2


@lru_cache(maxsize=64)
def _agg_times_s(
    profile: EngineProfile,
    decode_s: tuple[float, ...],
    osl_tokens: int,
    prompt_tokens: int,
    accept_length: float,
) -> tuple[float, ...]:
    """Mean time per token while 1, 2, ... sequences decode and their successors are prefilled.

    Infinite where an iteration has no room for the prompts that keep the batch full. Asked for
    again with other queues.
    """
    prompt_s, times_s = profile.idle_prefill_s(prompt_tokens), []
    for batch, time_s in enumerate(decode_s, start=1):
        arrivals = batch * accept_length / osl_tokens
        tokens = arrivals * prompt_tokens
        if tokens > profile.max_batched_tokens - batch:
            times_s.append(math.inf)
            continue
        together = arrivals <= 1.0
        prefill_s = arrivals * prompt_s if together else profile.idle_prefill_s(math.ceil(tokens))
        times_s.append((time_s + prefill_s) / accept_length)
    return tuple(times_s)


def _chunks(profile: EngineProfile, isl_tokens: int) -> int:
    return -(-isl_tokens // profile.max_batched_tokens) if profile.chunked_prefill else 1


_BY_ROLE = {Role.PREFILL: _prefill_rps, Role.DECODE: _decode_rps, Role.AGG: _agg_rps}
