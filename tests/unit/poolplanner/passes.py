"""Forward-pass samples of engines whose true pace is known."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from tests.unit.poolplanner.pools import POOL
from weir.domain.fleet import Role
from weir.domain.ids import WorkerId
from weir.domain.profile import EngineProfile
from weir.domain.telemetry import ForwardPassSample

__all__ = ["slower", "window"]


def slower(profile: EngineProfile, factor: float) -> EngineProfile:
    """Every iteration takes `factor` times as long."""
    return replace(profile, speed=profile.speed / factor)


def window(
    true: EngineProfile, role: Role, rng: Random, *, workers: int = 3, window_s: float = 5.0
) -> Iterator[ForwardPassSample]:
    """What each worker did in some seconds, at a load that differs from one to the next."""
    for number in range(workers):
        sequences = rng.randint(1, 40) if role is not Role.PREFILL else 0
        iterations = prefills = prompt_tokens = decode_tokens = 0
        busy_s, kv_tokens = 0.0, sequences * 1000
        while busy_s < 0.7 * window_s:
            prompts = role is Role.PREFILL or (role is Role.AGG and rng.random() < 0.3)
            tokens = rng.randint(100, true.max_batched_tokens - sequences) if prompts else 0
            busy_s += true.iteration_s(
                prefill_tokens=tokens, sequences=sequences, kv_used_tokens=kv_tokens
            )
            iterations, prefills = iterations + 1, prefills + bool(tokens)
            prompt_tokens, decode_tokens = prompt_tokens + tokens, decode_tokens + sequences
        yield ForwardPassSample(
            pool_id=POOL,
            worker_id=WorkerId(f"w{number}"),
            sequence=0,
            window_s=window_s,
            running=sequences,
            waiting=0,
            iterations=iterations,
            prefill_iterations=prefills,
            busy_s=busy_s,
            prefill_tokens=prompt_tokens,
            decode_tokens=decode_tokens,
            kv_used_tokens=kv_tokens,
        )
