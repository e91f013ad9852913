"""The last replica of a pool that may have none."""

import dataclasses

from globalplanner.core.arbiter.arbitrate import arbitrate
from globalplanner.core.arbiter.snapshot import Memory, PoolView, Rules
from tests.unit.globalplanner.fleets import CHAT, pool, snapshot, view
from weir.domain.fleet import Role

RULES = Rules(scale_down_dwell_s=60.0)


def over_time(
    views: list[PoolView], rates_rps: list[float], *, step_s: float = 10.0
) -> list[dict[str, int]]:
    """What is decided every `step_s`, with what was decided before in place."""
    memory, seen = Memory(), []
    for step, rate_rps in enumerate(rates_rps):
        now = snapshot(views, {"chat": rate_rps}, now_s=step_s * step)
        decision = arbitrate(now, RULES, memory)
        memory = decision.memory
        seen.append(dict(decision.replicas))
        views = [
            dataclasses.replace(v, replicas=(n := decision.replicas[v.spec.id]), ready=n)
            for v in views
        ]
    return seen


def test_the_last_replica_stays_for_longer_than_the_others() -> None:
    idle = pool("a", min_replicas=0, scale_to_zero_after_s=200.0)
    seen = [replicas["a"] for replicas in over_time([view(idle, 3)], [0.0] * 25)]
    assert seen == [3] * 6 + [1] * 14 + [0] * 5


def test_a_request_in_between_begins_the_idle_time_anew() -> None:
    idle = pool("a", min_replicas=0, scale_to_zero_after_s=200.0)
    rates = [0.0] * 15 + [0.1] + [0.0] * 25
    seen = [replicas["a"] for replicas in over_time([view(idle, 1)], rates)]
    assert seen[:36] == [1] * 36 and seen[-1] == 0


def test_a_minimum_of_1_never_goes() -> None:
    seen = over_time([view(pool("a"), 2)], [0.0] * 40)
    assert seen[-1] == {"a": 1}


def test_a_pair_at_zero_comes_back_together_for_a_rate_or_for_what_waits() -> None:
    p = pool("p", Role.PREFILL, min_replicas=0)
    d = pool("d", Role.DECODE, min_replicas=0)
    assert over_time([view(p), view(d)], [0.1]) == [{"p": 1, "d": 1}]
    held = [view(p, backlog_replica_s=0.5), view(d, backlog_replica_s=0.5)]
    assert over_time(held, [0.0]) == [{"p": 1, "d": 1}]


def test_of_several_pools_at_zero_one_comes_back_for_one_request() -> None:
    a, b = (pool(name, min_replicas=0) for name in "ab")
    (seen,) = over_time([view(a), view(b, capacity_rps={CHAT: 4.0})], [0.1])
    assert seen == {"a": 1, "b": 0}
