"""Pools as a scaler sees them."""

from typing import Any

from tests.unit.globalplanner.fleets import pool
from weir.domain.fleet import PoolSpec, Role
from weir.domain.profile import EngineProfile, PolynomialTiming
from weir.simulator.policies.seen import ForwardPass, PoolSeen, ReplicaSeen

__all__ = ["ENGINE", "decoding", "pool_seen", "replica", "spec"]

ENGINE = EngineProfile(
    timing=PolynomialTiming(prefill_s=(0.0, 0.001), decode_s=(0.01,), decode_per_sequence_s=0.001),
    kv_tokens=100_000,
    max_sequences=40,
    max_batched_tokens=1000,
)
"""1,000 prompt tokens/s; an iteration of n sequences takes 10 + n ms."""


def spec(role: Role = Role.DECODE, **changes: Any) -> PoolSpec:
    fields = {"profile": ENGINE, "max_replicas": 40, "context_limit_tokens": 10_000}
    return pool("p", role, **(fields | changes))


def replica(**changes: Any) -> ReplicaSeen:
    """Idle, unless `changes` say otherwise."""
    fields: dict[str, Any] = {
        "waiting": 0,
        "running": 0,
        "pending_tokens": 0,
        "kv_used_tokens": 0,
        "kv_total_tokens": ENGINE.kv_tokens,
        "cap": 40.0,
        "utilization": 0.0,
        "forward_pass": None,
    }
    return ReplicaSeen(**(fields | changes))


def decoding(calls: int, context_tokens: int = 500, **changes: Any) -> ReplicaSeen:
    passed = ForwardPass(0, calls, calls * context_tokens, 0.01 + 0.001 * calls)
    kv_tokens = calls * context_tokens
    return replica(running=calls, kv_used_tokens=kv_tokens, forward_pass=passed, **changes)


def pool_seen(*replicas: ReplicaSeen, **changes: Any) -> PoolSeen:
    """As many as are wanted are ready, and nothing waits."""
    fields: dict[str, Any] = {
        "spec": spec(),
        "wanted": len(replicas) + changes.get("starting", 0),
        "ready": replicas,
        "starting": 0,
        "terminating": 0,
        "queued": 0,
    }
    return PoolSeen(**(fields | changes))
