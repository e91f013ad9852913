"""What the forward-pass metrics of each engine of a pool would say of its load."""

from weir.domain.fleet import Role
from weir.simulator.policies.dynamo.load import EngineLoad
from weir.simulator.policies.seen import PoolSeen

__all__ = ["engine_loads", "mean_context"]


def engine_loads(pool: PoolSeen, isl_tokens: float) -> list[EngineLoad]:
    """Of its ready engines. Calls that wait at the gateway count as queued at all alike.

    (They would wait inside an engine of its own, whose limit of sequences is our gateway's cap.)
    """
    context = mean_context(pool)
    waiting = pool.queued / len(pool.ready) if pool.ready else 0.0
    loads = []
    for replica in pool.ready:
        calls = float(replica.running)
        queued_tokens = replica.pending_tokens + waiting * isl_tokens
        if pool.spec.role is Role.DECODE:
            calls, queued_tokens = calls + replica.waiting + waiting, 0.0
        elif pool.spec.role is Role.PREFILL:
            calls = 0.0
        loads.append(EngineLoad(queued_tokens, calls, calls * context))
    return loads


def mean_context(pool: PoolSeen) -> float:
    """Tokens of a sequence that decodes; 0 if none does."""
    passes = [r.forward_pass for r in pool.ready if r.forward_pass is not None]
    sequences = sum(passed.sequences for passed in passes)
    return sum(passed.context_tokens for passed in passes) / sequences if sequences else 0.0
