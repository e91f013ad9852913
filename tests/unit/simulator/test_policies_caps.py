from pathlib import Path

import pytest

from tests.unit.simulator.seen import ENGINE
from tests.unit.simulator.worlds import scenario
from weir.domain.fleet import Role
from weir.domain.ids import ModelName, PoolId
from weir.simulator.homes import homes_of
from weir.simulator.policies.caps import (
    Lengths,
    class_indices,
    limits,
    most_sequences,
    sequences_at,
)

SHORT = Lengths(90.0, 20.0)


@pytest.mark.parametrize(
    ("itl_s", "expected"),
    [
        (0.0305, 20),
        (1.0, 40),  # as many as the engine takes
        (0.001, 1),  # even one is too slow
    ],
)
def test_a_decode_engine_takes_what_keeps_its_iterations_in_time(
    itl_s: float, expected: int
) -> None:
    assert most_sequences(ENGINE, Role.DECODE, itl_s, SHORT) == expected


def test_no_more_are_taken_than_the_kv_space_holds() -> None:
    assert most_sequences(ENGINE, Role.DECODE, 1.0, Lengths(9900.0, 200.0)) == 10


def test_an_aggregated_engine_keeps_time_for_a_full_chunk() -> None:
    # n sequences: 10 + n ms, and 1,000 - n prompt tokens at a millisecond each
    assert most_sequences(ENGINE, Role.AGG, 1.02, SHORT) == 40
    assert most_sequences(ENGINE, Role.AGG, 1.0, SHORT) == 1


def test_fewer_sequences_than_the_share_reach_a_share_of_the_rate() -> None:
    # 40: 800 tokens/s; 8 in 18 ms: 444 tokens/s; 7 in 17 ms: 412 tokens/s; 6: 375 tokens/s
    assert sequences_at(0.5, ENGINE, Role.DECODE, 40.0, SHORT) == 7
    assert sequences_at(1.0, ENGINE, Role.DECODE, 40.0, SHORT) == 40
    assert sequences_at(0.1, ENGINE, Role.DECODE, 1.0, SHORT) == 1


def test_an_aggregated_engine_prefills_for_all_that_it_decodes() -> None:
    # 4.5 ms of prompt for a token: 40 sequences take 230 ms, 174 tokens/s; 3 take 26.5 ms, 113;
    # 2 take 21 ms, 95
    assert sequences_at(0.6, ENGINE, Role.AGG, 40.0, SHORT) == 3


def test_limits_go_by_the_tightest_class_at_home_and_a_minute_of_prompts(tmp_path: Path) -> None:
    slower = "profiles.engine.timing.decode_per_sequence_s=0.001"
    small = scenario(tmp_path, [(0.0, 100, 10)], slower, "classes.long.itl_ms=40.5", to_s=1.0)
    homes = homes_of(small.fleet, ModelName("m"))
    limit = limits(small, homes)
    prefill, decode = (small.fleet.pool(PoolId(name)) for name in ("prefill", "decode"))
    assert class_indices(decode, homes) == [0, 1]
    assert limit(decode, decode.profile) == 20  # 20 ms and one for each
    assert limit(prefill, prefill.profile) == pytest.approx(60_000.0)
