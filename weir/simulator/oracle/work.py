"""How long requests keep one replica busy, at its true speed, while it works at its best.

Fluid work: a replica's seconds are shared by all that it works on at the time, so that each
request is charged only its part. Nothing queues, nothing is rounded to whole iterations.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from weir.domain.fleet import PoolSpec, RequestClass, Role, Slo, Stage, Statistic
from weir.domain.profile import EngineProfile
from weir.simulator.oracle.offered import Offered
from weir.sizing.capacity import prefill_backlog_s, replica_capacity_rps

__all__ = ["Work", "work_of"]

_Floats = NDArray[np.float64]

_PER_OCTAVE = 4
"""KV lengths at which a replica is evaluated for each doubling."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Work:
    """One stage of each request at one pool, in seconds; one entry per request.

    `replica_s`: its share of a replica's time; infinite if the pool cannot take it.
    `quickest_s`: how long it takes at least. `usual_s`: over how long it is spread at full
    load, none for a prompt. `late_s`: how long after its arrival it begins at the latest to meet
    its targets, and `slowest_s`: how long it takes then.
    """

    replica_s: _Floats
    quickest_s: _Floats
    usual_s: _Floats
    late_s: _Floats
    slowest_s: _Floats


def work_of(
    spec: PoolSpec,
    profile: EngineProfile,
    stage: Stage,
    offered: Offered,
    classes: Sequence[RequestClass],
) -> Work:
    """The work of `stage` of all requests if `spec` (truly as fast as `profile`) did it."""
    work = (_prefill if stage is Stage.PREFILL else _decode)(spec, profile, offered, classes)
    output = 1 if spec.role is Role.PREFILL else offered.osl_tokens
    tokens = offered.isl_tokens + output
    fits = tokens <= min(spec.context_limit_tokens, profile.kv_tokens)
    return replace(work, replica_s=np.where(fits, work.replica_s, np.inf))


def _prefill(
    spec: PoolSpec, profile: EngineProfile, offered: Offered, classes: Sequence[RequestClass]
) -> Work:
    """A prompt's tokens at the speed of the iterations that prefill the most per second."""
    ttft_s = np.array([item.slo.ttft_s for item in classes])[offered.class_index]
    busy_s = offered.isl_tokens.astype(np.float64) * _prefill_token_s(profile)
    return Work(
        replica_s=busy_s,
        quickest_s=busy_s,
        usual_s=np.zeros(len(offered)),
        late_s=np.maximum(0.0, ttft_s - busy_s),
        slowest_s=busy_s,
    )


def _decode(
    spec: PoolSpec, profile: EngineProfile, offered: Offered, classes: Sequence[RequestClass]
) -> Work:
    """Output tokens at the rate of the best batch within the class's ITL.

    Their KV is the request's in the middle of its output. An aggregated replica's first token
    comes with the prefill. Once begun a sequence gets a token from every iteration, so that it
    is no slower than the fullest batch; where that is beyond the ITL, it might also begin late
    and go on alone.
    """
    ttft_s = np.array([item.slo.ttft_s for item in classes])[offered.class_index]
    itl_s = np.array([item.slo.itl_s for item in classes])[offered.class_index]
    kv = offered.isl_tokens + offered.osl_tokens // 2
    tokens = offered.osl_tokens - (1 if spec.role is Role.AGG else 0)
    gaps = offered.osl_tokens - 1
    grid = _Grid.around(kv, profile)
    alone_s = tokens * grid.look_up(kv, lambda at: _iteration_s(profile, 1, at))
    fullest_s = grid.look_up(kv, lambda at: _fullest_s(spec, profile, at))
    in_time = fullest_s <= itl_s
    token_s = np.empty(len(offered))
    for index, item in enumerate(classes):
        mine = offered.class_index == index
        if not mine.any():
            continue
        if spec.role is Role.AGG:
            token_s[mine] = _agg_token_s(profile, item.slo, offered)
        else:
            cost_s = partial(_decode_token_s, profile, item.slo)
            token_s[mine] = grid.look_up(kv[mine], cost_s)
    return Work(
        replica_s=tokens * token_s,
        quickest_s=alone_s,
        usual_s=np.maximum(alone_s, tokens * np.minimum(fullest_s, itl_s)),
        late_s=ttft_s + np.where(in_time, 0.0, np.maximum(0.0, gaps * itl_s - alone_s)),
        slowest_s=np.where(in_time, tokens * fullest_s, alone_s),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Grid:
    """KV lengths at which a replica is evaluated, ascending; between them, linear."""

    lengths: _Floats

    @classmethod
    def around(cls, kv: NDArray[np.int64], profile: EngineProfile) -> "_Grid":
        """Around those that occur and fit."""
        if not len(kv):
            return cls(lengths=np.ones(1))
        low, high = math.log2(max(1, int(kv.min()))), math.log2(max(1, int(kv.max())))
        steps = np.arange(math.floor(_PER_OCTAVE * low), math.ceil(_PER_OCTAVE * high) + 1)
        lengths = np.rint(np.exp2(steps / _PER_OCTAVE))
        return cls(lengths=np.unique(np.minimum(lengths, _longest(profile))))

    def look_up(self, kv: NDArray[np.int64], of_length: Callable[[int], float]) -> _Floats:
        low, high = int(self.lengths[0]), int(self.lengths[-1])
        values = [of_length(int(length)) for length in self.lengths]
        table = np.interp(np.arange(low, high + 1), self.lengths, values)
        return table[np.clip(kv, low, high) - low]


def _longest(profile: EngineProfile) -> int:
    """Prompt that fits with one token of output, in whole blocks."""
    return max(1, profile.kv_tokens // profile.block_tokens * profile.block_tokens - 1)


def _prefill_token_s(profile: EngineProfile) -> float:
    sizes = np.unique(np.rint(np.geomspace(1.0, profile.max_batched_tokens, 33))).astype(int)
    return min(
        prefill_backlog_s(replace(profile, max_batched_tokens=size), 1.0) for size in sizes.tolist()
    )


def _decode_token_s(profile: EngineProfile, slo: Slo, kv_tokens: int) -> float:
    """Replica seconds of one output token; if no batch meets the ITL, in the best of all."""
    for itl_s in (slo.itl_s, math.inf):
        target = Slo(ttft_s=math.inf, itl_s=itl_s)
        rate_rps = replica_capacity_rps(profile, Role.DECODE, target, kv_tokens, 1)
        if rate_rps is not None:
            return 1.0 / rate_rps
    return math.inf


def _agg_token_s(profile: EngineProfile, slo: Slo, offered: Offered) -> float:
    """Replica seconds of one output token beside the prefill of the mean request's prompt.

    The batch is that of all requests mixed as they come, within one class's ITL in the mean: at
    best nobody's tokens wait for more prompts than others' do.
    """
    isl, osl = float(offered.isl_tokens.mean()), float(offered.osl_tokens.mean())
    prompt_s = profile.idle_prefill_s(math.ceil(isl))
    for itl_s in (slo.itl_s, math.inf):
        target = Slo(ttft_s=math.inf, itl_s=itl_s, statistic=Statistic.MEAN)
        rate_rps = replica_capacity_rps(profile, Role.AGG, target, isl, osl)
        if rate_rps is not None:
            return max(0.0, 1.0 / rate_rps - prompt_s) / math.ceil(osl)
    return math.inf


def _fullest_s(spec: PoolSpec, profile: EngineProfile, kv_tokens: int) -> float:
    """The longest iteration that a replica can have with sequences of this length."""
    batch = max(1, min(profile.max_sequences, profile.kv_tokens // max(1, kv_tokens)))
    chunk = profile.max_batched_tokens if spec.role is Role.AGG else 0
    return _iteration_s(profile, batch, batch * kv_tokens, chunk)


def _iteration_s(profile: EngineProfile, batch: int, kv_tokens: int, prefill: int = 0) -> float:
    return profile.iteration_s(prefill_tokens=prefill, sequences=batch, kv_used_tokens=kv_tokens)
