"""What Dynamo's planner foresees: the load to come, and what an engine needs for it."""

import pytest

from tests.unit.simulator.seen import ENGINE, spec
from weir.domain.fleet import Role
from weir.simulator.policies.dynamo.engine import EngineKnown
from weir.simulator.policies.dynamo.predictors import Constant, Kalman
from weir.simulator.policies.dynamo.regression import Regression
from weir.simulator.policies.seen import ForwardPass


def test_the_constant_predictor_repeats() -> None:
    predictor = Constant()
    assert predictor.next() == 0.0
    predictor.add(7.0)
    assert predictor.next() == 7.0


def test_the_kalman_predictor_repeats_until_it_has_five_points_then_follows_a_line() -> None:
    predictor = Kalman()
    for value in (0.0, 0.0, 100.0, 110.0, 120.0, 130.0):
        predictor.add(value)
    assert predictor.next() == 130.0
    predictor.add(140.0)
    assert predictor.next() == pytest.approx(150.0, abs=1.0)


def test_the_kalman_predictor_is_never_below_nothing() -> None:
    predictor = Kalman()
    for value in (400.0, 300.0, 200.0, 100.0, 1.0):
        predictor.add(value)
    assert predictor.next() == 0.0


def test_a_regression_finds_the_line_from_five_samples_on() -> None:
    regression = Regression((1000.0,), work=0)
    for tokens in (100.0, 300.0, 500.0, 900.0):
        regression.add((tokens,), 0.02 + 0.001 * tokens)
    assert regression.estimate_s((200.0,)) is None
    regression.add((700.0,), 0.0)  # took no time: does not count
    assert regression.estimate_s((200.0,)) is None
    regression.add((700.0,), 0.72)
    assert regression.estimate_s((200.0,)) == pytest.approx(0.22)


def test_a_regression_in_which_more_work_is_quicker_is_refused() -> None:
    regression = Regression((1000.0,), work=0)
    for tokens in range(100, 600, 100):
        regression.add((float(tokens),), 1.0 - 0.001 * tokens)
    assert regression.estimate_s((200.0,)) is None


def test_a_regression_forgets_the_oldest_of_what_is_most_frequent() -> None:
    regression = Regression((1600.0,), work=0)
    for tokens in (1550.0, 1450.0):
        regression.add((tokens,), 0.001 * tokens)
    for number in range(200):
        regression.add((float(1 + number % 90),), 9.0 if number < 100 else 0.001)
    # the two rare ones are still there, of the others only the newest
    estimate_s = regression.estimate_s((1500.0,))
    assert estimate_s is not None
    assert 1.3 < estimate_s < 1.7


def _known(role: Role) -> EngineKnown:
    return EngineKnown(spec(role), ENGINE.max_sequences)


def test_without_samples_the_documents_profile_is_what_is_known() -> None:
    assert _known(Role.PREFILL).pass_s(500, 0, 0) == pytest.approx(0.5)
    assert _known(Role.DECODE).pass_s(0, 20, 0) == pytest.approx(0.03)


def test_what_engines_do_takes_over_from_the_profile() -> None:
    known = _known(Role.PREFILL)
    for tokens in (200, 400, 600, 800, 1000):
        known.saw(ForwardPass(tokens, 0, 0, 0.002 * tokens))
    known.saw(ForwardPass(0, 0, 0, 5.0))  # no prefill in it
    assert known.pass_s(500, 0, 0) == pytest.approx(1.0)


def test_a_prompt_is_prefilled_behind_the_queue_chunk_by_chunk() -> None:
    # 2,500 tokens, a millisecond each
    assert _known(Role.PREFILL).ttft_s(2000, 500) == pytest.approx(2.5)


def test_a_prefill_engines_rate_is_that_of_its_best_batch_in_time() -> None:
    known = _known(Role.PREFILL)
    rate_rps = known.capacity_rps(250, 100, ttft_s=2.0, itl_s=0.05)
    assert rate_rps == pytest.approx(4.0)
    too_long = known.capacity_rps(2500, 100, ttft_s=2.0, itl_s=0.05)
    assert too_long == pytest.approx(0.4)


def test_a_decode_engines_rate_is_that_of_the_largest_batch_in_time() -> None:
    known = _known(Role.DECODE)
    # 20 sequences take 30 ms, 40 take 50 ms
    assert known.capacity_rps(500, 100, ttft_s=1.0, itl_s=0.03) == pytest.approx(20 / 3.0)
    assert known.capacity_rps(500, 100, ttft_s=1.0, itl_s=0.06) == pytest.approx(40 / 5.0)
    # 100,000 tokens of KV hold 10 such sequences, 20 ms
    assert known.capacity_rps(9950, 100, ttft_s=1.0, itl_s=0.06) == pytest.approx(10 / 2.0)


def test_an_aggregated_engine_prefills_what_its_ends_make_room_for() -> None:
    # b sequences of 100 + 100 tokens: b prompt tokens an iteration, 10 + 2 b ms
    rate_rps = _known(Role.AGG).capacity_rps(100, 100, ttft_s=1.0, itl_s=0.05)
    assert rate_rps == pytest.approx(20 / (100 * 0.05))
