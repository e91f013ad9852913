"""How full engines are: an iteration takes 1,000 prompt tokens, 256 sequences and 100,000 tokens
of KV fit an engine, prompts have 500 tokens."""

from math import inf
from typing import Any

import pytest

from poolplanner.core.observation import Observation
from poolplanner.core.targets_fullness import Fullness, fullness_of
from tests.unit.poolplanner.pools import POOL, pool_spec
from weir.domain.fleet import Role
from weir.domain.ids import WorkerId
from weir.domain.telemetry import ForwardPassSample


def engine(name: str, **changes: Any) -> ForwardPassSample:
    fields: dict[str, Any] = {
        "pool_id": POOL,
        "worker_id": WorkerId(name),
        "sequence": 1,
        "window_s": 1.0,
        "running": 0,
        "waiting": 0,
        "waiting_tokens": 0,
        "kv_used_tokens": 0,
        "kv_total_tokens": 100_000,
    }
    return ForwardPassSample(**(fields | changes))


def fullness(
    role: Role, *engines: ForwardPassSample, ready: int | None = None, **seen: Any
) -> Fullness | None:
    fields: dict[str, Any] = {"age_s": 1.0, "rate_rps": 1.0, "in_flight": 1, "queued_tokens": 0}
    return fullness_of(
        pool_spec(role),
        Observation(**(fields | seen)),
        engines,
        ready=len(engines) if ready is None else ready,
        isl_tokens=500.0,
    )


def known(role: Role, *engines: ForwardPassSample, **more: Any) -> Fullness:
    found = fullness(role, *engines, **more)
    assert found is not None
    return found


def test_a_prefill_engine_has_what_it_has_not_computed_and_a_queue_beyond_the_next_iteration() -> (
    None
):
    found = known(Role.PREFILL, engine("a", waiting_tokens=900), engine("b", waiting_tokens=4000))
    assert (found.hot, found.fullest, found.least, found.most) == (4000, 3000, 4900, 4900)
    assert known(Role.PREFILL, engine("a", waiting_tokens=900)).fullest == 0


def test_what_routers_hold_is_queued_at_all_engines_alike() -> None:
    # Of 6,000 tokens engines have 2,000: 2,000 more for each of the two.
    queued = engine("a", waiting_tokens=2000)
    found = known(Role.PREFILL, queued, engine("b"), queued_tokens=6000)
    assert (found.hot, found.least) == (4000, 6000)


def test_decode_engines_are_as_full_as_their_kv_or_their_sequences() -> None:
    by_kv = engine("a", running=10, kv_used_tokens=60_000)
    by_sequences = engine("b", running=128, kv_used_tokens=10_000)
    found = known(Role.DECODE, by_kv, by_sequences)
    assert found.least == pytest.approx(0.6 + 0.5)
    assert found.fullest == pytest.approx(0.6)


def test_sequences_that_wait_count_with_their_prompts() -> None:
    # 20 wait here and 20 at routers: 20,000 tokens beside 90,000.
    full = engine("a", running=50, waiting=20, kv_used_tokens=90_000)
    assert known(Role.DECODE, full, queued_tokens=10_000).hot == pytest.approx(1.1)


def test_in_an_aggregated_pool_prompts_count_with_the_tokens_that_wait() -> None:
    full = engine("a", running=50, waiting=2, waiting_tokens=8000, kv_used_tokens=90_000)
    assert known(Role.AGG, full).hot == pytest.approx(0.98)


def test_of_ten_engines_one_may_be_fuller_than_the_one_that_counts_as_hot() -> None:
    engines = [engine(str(i), kv_used_tokens=10_000 * i) for i in range(10)]
    found = known(Role.DECODE, *engines)
    assert (found.hot, found.fullest) == pytest.approx((0.8, 0.9))
    assert known(Role.DECODE, *engines[1:]).hot == pytest.approx(0.9)


def test_silent_engines_are_bounded_by_those_that_are_heard() -> None:
    engines = [engine("a", kv_used_tokens=20_000), engine("b", kv_used_tokens=50_000)]
    found = known(Role.DECODE, *engines, ready=4)
    assert (found.least, found.most) == pytest.approx((1.1, 1.7))


def test_without_routers_nobody_knows_what_the_pool_holds_at_most() -> None:
    found = known(
        Role.DECODE, engine("a", kv_used_tokens=20_000), rate_rps=None, queued_tokens=None
    )
    assert found.hot == pytest.approx(0.2)
    assert found.fullest == found.most == inf
    assert not found.idle


@pytest.mark.parametrize(
    ("role", "changes"),
    [
        (Role.PREFILL, {"waiting_tokens": None}),
        (Role.DECODE, {"kv_used_tokens": None}),
        (Role.DECODE, {"kv_total_tokens": None}),
        (Role.AGG, {"waiting_tokens": None}),
    ],
)
def test_what_engines_do_not_tell_is_unknown(role: Role, changes: dict[str, Any]) -> None:
    assert fullness(role, engine("a"), engine("b", **changes)) is None


def test_without_engines_it_is_unknown_unless_there_are_none() -> None:
    assert fullness(Role.DECODE, ready=2) is None
    assert known(Role.DECODE, ready=0).idle is False
    assert known(Role.DECODE, ready=0, rate_rps=0.0, in_flight=0).idle
    assert fullness(Role.DECODE, ready=0, rate_rps=None) is None


def test_a_queue_is_as_long_as_engines_have_taken_for_as_much() -> None:
    # 1,000 tokens took 0.5 s, and 4,000 are there.
    busy = engine("a", waiting_tokens=3000, prefill_tokens=1000, busy_s=0.5)
    idle = engine("b", waiting_tokens=1000, prefill_tokens=0, busy_s=0.0)
    assert known(Role.PREFILL, busy, idle).backlog_s == pytest.approx(2.0)
    assert known(Role.PREFILL, idle).backlog_s is None


def test_time_spent_is_that_of_all_engines_or_unknown() -> None:
    half, full = engine("a", busy_s=0.5), engine("b", busy_s=1.5)
    assert known(Role.PREFILL, half, full).busy == pytest.approx(1.5)
    assert known(Role.PREFILL, half, full, ready=4).busy == pytest.approx(3.0)
    assert known(Role.PREFILL, half, engine("b")).busy is None
