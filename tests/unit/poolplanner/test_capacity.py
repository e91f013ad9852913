import pytest

from poolplanner.core.backlog import backlog_replica_s
from poolplanner.core.capacity import CapacityTable
from poolplanner.core.load import ClassShape
from poolplanner.core.observation import EngineLoad, Observation
from tests.unit.poolplanner.pools import CLASSES, SMALL, pool_spec
from weir.domain.fleet import Role

BY_NAME = {c.name: c for c in CLASSES}
SHAPES = {SMALL: ClassShape(isl_tokens=1000, osl_tokens=100, share=1.0)}


def _engines(*, running: int = 0, waiting: int = 0, waiting_tokens: int = 0) -> EngineLoad:
    return EngineLoad(
        workers=2,
        running=running,
        waiting=waiting,
        waiting_tokens=waiting_tokens,
        kv_used_tokens=0,
        kv_total_tokens=1,
    )


def _backlog(role: Role, seen: Observation, *, ready: int = 2) -> float | None:
    table = CapacityTable(pool_spec(role), BY_NAME, 0.8)
    return backlog_replica_s(table, seen, SHAPES, ready=ready)


def test_capacity_hardly_depends_on_where_lengths_fall_on_the_grid() -> None:
    table = CapacityTable(pool_spec(Role.PREFILL), BY_NAME, 0.8)
    # 1,000 tokens take 0.1 s, so 8 requests/s at 80 %.
    assert table.capacity_rps(SHAPES)[SMALL] == pytest.approx(8.0, rel=0.05)


def test_a_class_the_pool_cannot_serve_is_left_out() -> None:
    table = CapacityTable(pool_spec(Role.DECODE, context_limit_tokens=500), BY_NAME, 0.8)
    assert table.capacity_rps(SHAPES) == {}


def test_prefill_backlog_is_the_larger_of_what_routers_and_engines_see() -> None:
    # 0.1 ms per token.
    seen = Observation(age_s=1.0, queued_tokens=5000, engines=_engines(waiting_tokens=20_000))
    assert _backlog(Role.PREFILL, seen) == pytest.approx(2.0)
    seen = Observation(age_s=1.0, queued_tokens=5000)
    assert _backlog(Role.PREFILL, seen) == pytest.approx(0.5)


# 40 sequences take 0.05 s a token: 40 / (100 tokens * 0.05 s) = 8 requests/s fully used.


def test_decode_backlog_is_what_waits_over_the_full_rate() -> None:
    seen = Observation(age_s=1.0, engines=_engines(waiting=16))
    assert _backlog(Role.DECODE, seen) == pytest.approx(2.0, rel=0.06)


def test_decode_backlog_counts_what_the_routers_hold_back() -> None:
    # 16 prompts of 1,000 tokens wait at the routers; the engines are given all they can run.
    seen = Observation(age_s=1.0, queued_tokens=16_000, engines=_engines(running=70))
    assert _backlog(Role.DECODE, seen) == pytest.approx(2.0, rel=0.06)
    seen = Observation(age_s=1.0, queued_tokens=16_000, in_flight=70)
    assert _backlog(Role.DECODE, seen) == pytest.approx(2.0, rel=0.06)


def test_decode_backlog_counts_what_runs_beyond_itl() -> None:
    # Two replicas hold 80 sequences within ITL.
    seen = Observation(age_s=1.0, engines=_engines(running=120))
    assert _backlog(Role.DECODE, seen) == pytest.approx(5.0, rel=0.15)
    seen = Observation(age_s=1.0, engines=_engines(running=70))
    assert _backlog(Role.DECODE, seen) == 0.0


def test_without_engine_telemetry_the_routers_sequences_tell_the_decode_backlog() -> None:
    seen = Observation(age_s=1.0, in_flight=120)
    assert _backlog(Role.DECODE, seen, ready=2) == pytest.approx(5.0, rel=0.15)
    assert _backlog(Role.DECODE, seen, ready=4) == 0.0


def test_an_aggregated_pool_counts_the_larger_backlog_once() -> None:
    seen = Observation(age_s=1.0, queued_tokens=50_000, engines=_engines(waiting=2))
    assert _backlog(Role.AGG, seen) == pytest.approx(5.0)


@pytest.mark.parametrize("role", list(Role))
def test_backlog_is_unknown_when_nobody_tells(role: Role) -> None:
    assert _backlog(role, Observation(age_s=None)) is None


def test_a_pool_that_can_serve_nothing_knows_only_an_empty_backlog() -> None:
    table = CapacityTable(pool_spec(Role.DECODE, context_limit_tokens=500), BY_NAME, 0.8)
    queued = Observation(age_s=1.0, engines=_engines(waiting=9))
    assert backlog_replica_s(table, queued, SHAPES, ready=2) is None
    idle = Observation(age_s=1.0, engines=_engines())
    assert backlog_replica_s(table, idle, SHAPES, ready=2) == 0.0
