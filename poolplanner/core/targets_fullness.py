"""How full a pool's engines are, in the unit of its thresholds; None if nobody can tell.

Prefill: prompt tokens at an engine that it has not computed yet; nothing is queued while they fit
its next iteration. Decode and aggregated pools: the KV that an engine is to hold over what it can,
or its sequences over the most that it runs, whichever is more. What routers hold back is queued at
all engines alike: they send it to whichever has room.

Engines that are silent are bounded: at least they hold nothing but their part of what routers hold,
at most they are as full as the fullest one that is heard. While routers are silent there is no
telling what the pool holds at most.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

from poolplanner.core.observation import Observation
from weir.domain.fleet import PoolSpec, Role
from weir.domain.telemetry import ForwardPassSample

__all__ = ["Fullness", "fullness_of"]

_HOT_SHARE = 0.1
"""So many of a pool's engines may be fuller than the one that counts as hot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fullness:
    """`hot`: the load that few engines exceed; `fullest`: that none does, with what is queued only.
    `least` and `most`: all engines' loads together. Of a prefill pool, None where it is unknown:
    `busy`: engines' worth of time that is spent in iterations; `backlog_s`: how long one engine
    would take for what is there. `idle`: nothing is there, or comes.
    """

    hot: float
    fullest: float
    least: float
    most: float
    busy: float | None = None
    backlog_s: float | None = None
    idle: bool = False


def fullness_of(
    spec: PoolSpec,
    seen: Observation,
    heard: Sequence[ForwardPassSample],
    *,
    ready: int,
    isl_tokens: float,
) -> Fullness | None:
    """Of `ready` engines. `heard`: those that tell, but for those about to end.

    `isl_tokens`: mean prompt.
    """
    if not ready and not heard:
        return _without_engines(seen)
    count = max(ready, len(heard))
    prefill = spec.role is Role.PREFILL
    held_tokens = _held_tokens(seen, heard) / count
    loads = [
        _prefill_load(sample, held_tokens)
        if prefill
        else _decode_load(spec, sample, held_tokens, isl_tokens)
        for sample in heard
    ]
    known = sorted((load for load in loads if load is not None), reverse=True)
    if not known or len(known) < len(loads):
        return None
    silent, blind = count - len(known), seen.rate_rps is None
    next_tokens = spec.profile.max_batched_tokens if prefill else 0
    least = sum(known) + silent * known[-1]
    return Fullness(
        hot=known[int(_HOT_SHARE * len(known))],
        fullest=inf if blind else max(0.0, known[0] - next_tokens),
        least=least,
        most=inf if blind else sum(known) + silent * known[0],
        busy=_busy(heard, count) if prefill else None,
        backlog_s=_backlog_s(heard, least) if prefill else None,
        idle=_is_idle(seen, heard),
    )


def _without_engines(seen: Observation) -> Fullness | None:
    """Routers tell whether there is something to do."""
    if seen.rate_rps is None:
        return None
    return Fullness(hot=0.0, fullest=0.0, least=0.0, most=0.0, idle=_is_idle(seen, ()))


def _held_tokens(seen: Observation, heard: Iterable[ForwardPassSample]) -> float:
    """Prompt tokens that routers have for the pool and that no engine says to have queued."""
    return max(0.0, (seen.queued_tokens or 0) - sum(s.waiting_tokens or 0 for s in heard))


def _prefill_load(engine: ForwardPassSample, held_tokens: float) -> float | None:
    return None if engine.waiting_tokens is None else engine.waiting_tokens + held_tokens


def _decode_load(
    spec: PoolSpec, engine: ForwardPassSample, held_tokens: float, isl_tokens: float
) -> float | None:
    used, total, waiting_tokens = (
        engine.kv_used_tokens,
        engine.kv_total_tokens,
        engine.waiting_tokens,
    )
    if used is None or not total:
        return None
    if spec.role is Role.DECODE:
        waiting_tokens = round(engine.waiting * isl_tokens)
    if waiting_tokens is None:
        return None
    held = held_tokens / max(1.0, isl_tokens)
    sequences = engine.running + engine.waiting + held
    tokens = used + waiting_tokens + held_tokens
    return max(tokens / total, sequences / spec.profile.max_sequences)


def _busy(heard: Sequence[ForwardPassSample], count: int) -> float | None:
    shares = [s.busy_s / s.window_s for s in heard if s.busy_s is not None and s.window_s > 0.0]
    if not shares or len(shares) < len(heard):
        return None
    return count * sum(min(1.0, share) for share in shares) / len(shares)


def _backlog_s(heard: Sequence[ForwardPassSample], tokens: float) -> float | None:
    """By what engines have computed lately."""
    told = [(s.prefill_tokens, s.busy_s) for s in heard if s.busy_s and s.prefill_tokens]
    done_tokens = sum(done for done, _ in told)
    return tokens * sum(busy_s for _, busy_s in told) / done_tokens if done_tokens else None


def _is_idle(seen: Observation, heard: Iterable[ForwardPassSample]) -> bool:
    coming = seen.rate_rps is None or seen.rate_rps > 0.0
    there = seen.in_flight or seen.queued_tokens or any(s.running or s.waiting for s in heard)
    return not coming and not there
