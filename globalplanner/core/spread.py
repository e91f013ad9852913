"""Spread streams over pools so that all that can share the work are equally busy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weir.domain.fleet import Role, Stage
from weir.domain.ids import ClassName, ModelName, PoolId
from weir.sizing.value import Goodput, Stream, Supply

__all__ = ["Portion", "spread"]

_ROUNDS = 12
_IDLE_RATE_RPS = 1e-3
"""What a class without traffic counts as, to have a share at all."""
_NEGLIGIBLE = 1e-9
"""A smaller part of a stream is what rounding has left, and is lost in the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """How much of a stream goes where in one stage; `busy_by_pool` in replicas."""

    class_name: ClassName
    model: ModelName
    stage: Stage
    rate_by_pool: Mapping[PoolId, float]
    busy_by_pool: Mapping[PoolId, float]


@dataclass(slots=True)
class _Part:
    """Pools that can do a stage of a stream, with requests/s of all their replicas together."""

    stream: Stream
    stage: Stage
    capacity_rps: dict[PoolId, float]
    each_rps: dict[PoolId, float]
    rate_rps: float
    rates: dict[PoolId, float]


def spread(
    goodput: Goodput, streams: Sequence[Stream], replicas: Mapping[PoolId, int]
) -> tuple[Portion, ...]:
    """Where all of `streams` should go, what exceeds the capacity included.

    Work is levelled class by class until it hardly moves (Gauss-Seidel on the busiest pool).
    A stream that no pool can serve within SLO goes wherever there are replicas of its model.
    """
    parts = [part for s in streams for part in _parts(goodput, s, replicas)]
    busy = dict.fromkeys((supply.pool_id for supply in goodput.supplies), 0.0)
    for _ in range(_ROUNDS):
        for part in parts:
            for pool_id, rate in part.rates.items():
                busy[pool_id] -= rate / part.each_rps[pool_id]
            part.rates = _level(part, busy, replicas)
            for pool_id, rate in part.rates.items():
                busy[pool_id] += rate / part.each_rps[pool_id]
    return tuple(
        Portion(
            class_name=part.stream.class_name,
            model=part.stream.model,
            stage=part.stage,
            rate_by_pool=part.rates,
            busy_by_pool={id: rate / part.each_rps[id] for id, rate in part.rates.items()},
        )
        for part in parts
    )


def _parts(goodput: Goodput, stream: Stream, replicas: Mapping[PoolId, int]) -> list[_Part]:
    rate_rps = max(stream.rate_rps, _IDLE_RATE_RPS)
    whole = _able(goodput.supplies, stream, Role.AGG, replicas)
    prefill = _able(goodput.supplies, stream, Role.PREFILL, replicas)
    decode = _able(goodput.supplies, stream, Role.DECODE, replicas)
    if not (prefill and decode):
        prefill = decode = {}
    if not whole and not prefill:
        return []
    share = _share_of_whole(goodput, stream, replicas, whole, prefill, decode)
    parts = []
    for stage, pools, part in (
        (Stage.PREFILL, whole, share),
        (Stage.PREFILL, prefill, 1.0 - share),
        (Stage.DECODE, decode, 1.0 - share),
    ):
        if pools and part > _NEGLIGIBLE:
            capacity = {id: each * max(replicas[id], 1) for id, each in pools.items()}
            parts.append(_Part(stream, stage, capacity, pools, rate_rps * part, {}))
    return parts


def _able(
    supplies: Sequence[Supply], stream: Stream, role: Role, replicas: Mapping[PoolId, int]
) -> dict[PoolId, float]:
    """Requests/s of one replica by pool. Those that run come first, then those that are able."""
    there = {
        s.pool_id: s.capacity_rps[stream.class_name] if s.carries(stream) else 0.0
        for s in supplies
        if s.role is role and s.model == stream.model
    }
    running = {id: each for id, each in there.items() if replicas[id] > 0} or there
    able = {id: each for id, each in running.items() if each > 0.0}
    return able or dict.fromkeys(running, 1.0)


def _share_of_whole(
    goodput: Goodput,
    stream: Stream,
    replicas: Mapping[PoolId, int],
    whole: Mapping[PoolId, float],
    prefill: Mapping[PoolId, float],
    decode: Mapping[PoolId, float],
) -> float:
    """The part of a stream that aggregated pools take."""
    if not (whole and prefill):
        return 1.0 if whole else 0.0
    by_pool = {
        flow.pool_id: flow.rate_rps
        for flow in goodput.of(replicas).flows
        if flow.stream == stream and flow.stage is Stage.PREFILL
    }
    served = sum(by_pool.values())
    if served > 0.0:
        return sum(by_pool.get(id, 0.0) for id in whole) / served
    whole_rps, prefill_rps, decode_rps = (
        sum(each * max(replicas[id], 1) for id, each in pools.items())
        for pools in (whole, prefill, decode)
    )
    return whole_rps / (whole_rps + min(prefill_rps, decode_rps))


def _level(
    part: _Part, busy: Mapping[PoolId, float], replicas: Mapping[PoolId, int]
) -> dict[PoolId, float]:
    """Fill the least busy pools first, up to one common level."""
    base = {id: busy[id] / max(replicas[id], 1) for id in part.capacity_rps}
    order = sorted(base, key=lambda id: (base[id], id))
    level, capacity_rps, weighted = 0.0, 0.0, 0.0
    for position, pool_id in enumerate(order):
        capacity_rps += part.capacity_rps[pool_id]
        weighted += part.capacity_rps[pool_id] * base[pool_id]
        level = (part.rate_rps + weighted) / capacity_rps
        if position + 1 == len(order) or level <= base[order[position + 1]]:
            break
    return {id: max(0.0, level - base[id]) * part.capacity_rps[id] for id in order}
