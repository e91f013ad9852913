"""Its pool planners: each sees its own pool alone, every 5 s.

A planner holds still while a replica starts, or while the engines heard of are not as many as
were asked for.
"""

from typing import Protocol

from weir.domain.fleet import Role
from weir.simulator.policies.dynamo import load, thresholds
from weir.simulator.policies.dynamo.engine import EngineKnown
from weir.simulator.policies.dynamo.loads import engine_loads, mean_context
from weir.simulator.policies.dynamo.throughput import INTERVAL_S, ThroughputLoop
from weir.simulator.policies.scaler import Wish
from weir.simulator.policies.seen import PoolSeen, Traffic

__all__ = ["MIN_ENDPOINT", "PoolPlanner", "SlaPlanner", "ThresholdPlanner"]

MIN_ENDPOINT = 1


class PoolPlanner(Protocol):
    def tick(self, pool: PoolSeen, now_s: float) -> Wish:
        """What the pool should have."""
        ...


class ThresholdPlanner:
    """Read generously: the most KV that an engine can hold is what its limit of sequences can use.

    By its whole KV space these engines, limited to a few dozen sequences, would hardly ever be
    loaded, and decode pools would never grow.
    """

    def __init__(self, target: thresholds.Target, role: Role) -> None:
        self._thresholds = thresholds.thresholds_of(target, role)

    def tick(self, pool: PoolSeen, now_s: float) -> Wish:
        if not _settled(pool):
            return _still(pool)
        shares = self._shares(pool)
        wanted = thresholds.step(shares, self._thresholds, MIN_ENDPOINT)
        return Wish(wanted, f"loads from {min(shares):.2f} to {max(shares):.2f}")

    def _shares(self, pool: PoolSeen) -> list[float]:
        context = max(1.0, mean_context(pool))
        loads = engine_loads(pool, context)
        if pool.spec.role is Role.PREFILL:
            return [each.queued_prefill_tokens / pool.spec.context_limit_tokens for each in loads]
        return [
            (each.decode_calls * context + each.queued_prefill_tokens)
            / min(replica.kv_total_tokens, replica.cap * context)
            for each, replica in zip(loads, pool.ready, strict=True)
        ]


class SlaPlanner:
    """The short loop on top of the long one, which sets the least."""

    def __init__(self, known: EngineKnown, predictor: str, *, ttft_s: float, itl_s: float) -> None:
        self._known = known
        self._ttft_s, self._itl_s = ttft_s, itl_s
        self._long = ThroughputLoop(known, predictor, ttft_s=ttft_s, itl_s=itl_s)
        self._window = Traffic()
        self._window_ends_s: float | None = None
        self._least = MIN_ENDPOINT

    def tick(self, pool: PoolSeen, now_s: float) -> Wish:
        for replica in pool.ready:
            if replica.forward_pass is not None:
                self._known.saw(replica.forward_pass)
        self._count(pool, now_s)
        means = self._means()
        if not _settled(pool) or means is None:
            return _still(pool)
        loads = engine_loads(pool, means.isl_tokens)
        wanted = load.step(
            self._known,
            loads,
            means,
            ttft_s=self._ttft_s,
            itl_s=self._itl_s,
            least=MIN_ENDPOINT,
        )
        if wanted < self._least:
            return Wish(self._least, "the long loop's least")
        above = wanted > pool.wanted
        return Wish(wanted, "every engine above its SLA" if above else "in time with one less")

    def _count(self, pool: PoolSeen, now_s: float) -> None:
        """Close the window every 180 s."""
        if pool.traffic is not None:
            self._window = self._window.plus(pool.traffic)
        if self._window_ends_s is None:
            self._window_ends_s = now_s + INTERVAL_S
        if now_s < self._window_ends_s - 1e-6:
            return
        self._window_ends_s += INTERVAL_S
        wanted = self._long.window(self._window, pool.wanted, MIN_ENDPOINT)
        if wanted is not None:
            self._least = wanted
        self._window = Traffic()

    def _means(self) -> load.Means | None:
        """Lengths of the running window, or of the last that had calls."""
        isl, osl = self._window.mean_isl_tokens, self._window.mean_osl_tokens
        return load.Means(isl, osl) if isl is not None and osl is not None else self._long.means


def _still(pool: PoolSeen) -> Wish:
    return Wish(max(pool.wanted, MIN_ENDPOINT), "the least")


def _settled(pool: PoolSeen) -> bool:
    return bool(pool.ready) and len(pool.ready) == pool.wanted and not pool.starting
