"""Its short loop for SLAs: a replica more or less by what each engine's queue will cost.

Up when every engine's estimate is above the target. Down when for every engine the load of N
spread over N - 1 would leave 20 % of the target: of prefill, 20 % of what the target leaves
beside the prompt's own time; of decode, also if the KV would fit.
"""

from collections.abc import Sequence
from typing import NamedTuple

from weir.domain.fleet import Role
from weir.simulator.policies.dynamo.engine import EngineKnown

__all__ = ["EngineLoad", "Means", "step"]

_SENSITIVITY = 0.8


class EngineLoad(NamedTuple):
    """Of one engine: prompt tokens queued; calls decoding or queued for it and their KV."""

    queued_prefill_tokens: float
    decode_calls: float
    decode_kv_tokens: float


class Means(NamedTuple):
    """Lengths of the calls seen lately, in tokens."""

    isl_tokens: float
    osl_tokens: float

    @property
    def decode_tokens(self) -> float:
        return self.isl_tokens + self.osl_tokens / 2.0


def step(
    known: EngineKnown,
    loads: Sequence[EngineLoad],
    means: Means,
    *,
    ttft_s: float,
    itl_s: float,
    least: int = 1,
) -> int:
    """Replicas wanted of a pool whose engines, all of them ready, have these loads."""
    count = len(loads)
    steps = []
    if known.role is not Role.DECODE:
        steps.append(_prefill_step(known, loads, means, ttft_s))
    if known.role is not Role.PREFILL:
        steps.append(_decode_step(known, loads, means, itl_s))
    change = 1 if 1 in steps else -1 if set(steps) == {-1} else 0
    return max(count + change, min(count, least))


def _prefill_step(
    known: EngineKnown, loads: Sequence[EngineLoad], means: Means, target_s: float
) -> int:
    def ttft_s(load: EngineLoad, queued_tokens: float, scale: float = 1.0) -> float:
        return known.ttft_s(queued_tokens, means.isl_tokens, load.decode_kv_tokens * scale)

    if all(ttft_s(load, load.queued_prefill_tokens) > target_s for load in loads):
        return 1
    more = _more(loads)
    for load in loads:
        own_s = ttft_s(load, 0.0, more)
        after_s = ttft_s(load, load.queued_prefill_tokens * more, more)
        if after_s - own_s >= (target_s - own_s) * _SENSITIVITY:
            return 0
    return -1 if len(loads) > 1 else 0


def _decode_step(
    known: EngineKnown, loads: Sequence[EngineLoad], means: Means, target_s: float
) -> int:
    def itl_s(load: EngineLoad, scale: float = 1.0) -> float:
        kv_tokens = load.decode_kv_tokens * scale + means.decode_tokens
        return known.pass_s(0.0, load.decode_calls * scale + 1.0, kv_tokens)

    if all(itl_s(load) > target_s for load in loads):
        return 1
    more = _more(loads)
    fit = all(int(load.decode_kv_tokens * more) < known.kv_tokens for load in loads)
    spare = all(itl_s(load, more) < target_s * _SENSITIVITY for load in loads)
    return -1 if len(loads) > 1 and fit and spare else 0


def _more(loads: Sequence[EngineLoad]) -> float:
    """What each engine would have if there were one less."""
    return len(loads) / (len(loads) - 1) if len(loads) > 1 else 1.0
