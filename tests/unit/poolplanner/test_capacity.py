import pytest

from poolplanner.core.capacity import CapacityTable, backlog_replica_s
from poolplanner.core.load import ClassShape
from poolplanner.core.observe import EngineLoad, Observation
from tests.unit.poolplanner.pools import CLASSES, SMALL, pool_spec
from weir.domain.fleet import Role
from weir.domain.ids import ClassName

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


def _backlog(role: Role, seen: Observation, capacity_rps: dict[ClassName, float]) -> float | None:
    spec = pool_spec(role)
    return backlog_replica_s(spec, seen, capacity_rps, SHAPES, BY_NAME, 0.8)


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
    assert _backlog(Role.PREFILL, seen, {SMALL: 8.0}) == pytest.approx(2.0)
    seen = Observation(age_s=1.0, queued_tokens=5000)
    assert _backlog(Role.PREFILL, seen, {SMALL: 8.0}) == pytest.approx(0.5)


def test_decode_backlog_is_what_waits_over_the_full_rate() -> None:
    # 8 requests/s planned at 80 % are 10 at full load.
    seen = Observation(age_s=1.0, engines=_engines(waiting=20))
    assert _backlog(Role.DECODE, seen, {SMALL: 8.0}) == pytest.approx(2.0)


def test_decode_backlog_counts_what_runs_beyond_itl() -> None:
    # At 10/s, 100 tokens of 0.05 s each: 50 sequences per replica within ITL, 100 on two.
    seen = Observation(age_s=1.0, engines=_engines(running=130))
    assert _backlog(Role.DECODE, seen, {SMALL: 8.0}) == pytest.approx(3.0)
    seen = Observation(age_s=1.0, engines=_engines(running=90))
    assert _backlog(Role.DECODE, seen, {SMALL: 8.0}) == 0.0


def test_an_aggregated_pool_counts_the_larger_backlog_once() -> None:
    seen = Observation(age_s=1.0, queued_tokens=50_000, engines=_engines(waiting=20))
    assert _backlog(Role.AGG, seen, {SMALL: 8.0}) == pytest.approx(5.0)


@pytest.mark.parametrize("role", list(Role))
def test_backlog_is_unknown_when_nobody_tells(role: Role) -> None:
    assert _backlog(role, Observation(age_s=None), {SMALL: 8.0}) is None


def test_decode_backlog_is_unknown_without_any_capacity() -> None:
    assert _backlog(Role.DECODE, Observation(age_s=1.0, engines=_engines(waiting=9)), {}) is None
