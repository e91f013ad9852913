import math

import pytest

from tests.unit.engine.drive import MILLISECOND_A_TOKEN, request
from weir.domain.profile import EngineProfile, PolynomialTiming
from weir.engine.run import EngineRun

QUARTERS = PolynomialTiming(prefill_s=(0.0, 0.25), decode_s=(0.0,), decode_per_sequence_s=0.5)
"""A quarter of a second for each prompt token, half of one for each that decodes: exact sums."""


def engine(**profile: int) -> EngineRun:
    return EngineRun(EngineProfile(timing=QUARTERS, **profile))


def begin(run: EngineRun) -> None:
    """What was asked of an idle engine is due at once."""
    outcome = run.advance()
    assert (outcome.emitted, outcome.first, outcome.finished) == (0, [], [])


def ended(run: EngineRun) -> list[object]:
    return [sequence.id for sequence in run.advance().finished]


def test_a_request_alone_is_due_at_its_first_and_at_its_last_token() -> None:
    run = engine()
    assert run.due_s == math.inf
    run.submit(request("a", 4, 1001), 10.0)
    assert run.due_s == 10.0
    begin(run)
    assert run.due_s == 11.0
    assert [sequence.id for sequence in run.advance().first] == ["a"]
    assert run.due_s == 11.0 + 1000 * 0.5
    assert ended(run) == ["a"]
    assert run.due_s == math.inf


def test_all_who_come_at_once_to_an_idle_engine_begin_together() -> None:
    run = engine()
    for id in "abc":
        run.submit(request(id, 4, 1), 3.0)
    run.abort("b", 3.0)
    begin(run)
    assert run.due_s == 3.0 + 8 * 0.25
    assert ended(run) == ["a", "c"]


def test_an_engine_whose_only_request_went_at_once_stays_idle() -> None:
    run = engine()
    run.submit(request("a", 4, 1), 3.0)
    run.abort("a", 3.0)
    begin(run)
    assert (run.due_s, run.totals(9.0)) == (math.inf, (0, 0.0, 0, 0))


def test_who_comes_joins_when_the_iteration_in_progress_ends() -> None:
    run = engine()
    run.submit(request("a", 4, 9), 0.0)
    begin(run)
    run.advance()  # steps of a end at 1.5, 2.0, ...
    run.submit(request("b", 2, 1, prefilled=True), 1.7)
    assert run.due_s == 2.0
    assert ended(run) == []
    assert run.due_s == 3.0  # two decode now
    assert ended(run) == ["b"]
    assert run.due_s == 3.0 + 5 * 0.5


def test_who_comes_just_as_an_iteration_ends_joins_the_next() -> None:
    run = engine()
    run.submit(request("a", 4, 9), 0.0)
    begin(run)
    run.advance()
    run.submit(request("b", 2, 1, prefilled=True), 2.0)
    assert run.due_s == 2.0


def test_who_can_find_no_place_makes_nothing_due() -> None:
    run = engine(max_sequences=1)
    run.submit(request("a", 4, 9), 0.0)
    begin(run)
    run.advance()
    run.submit(request("b", 2, 1, prefilled=True), 1.7)
    assert run.due_s == 1.0 + 8 * 0.5
    assert ended(run) == ["a"]
    assert ended(run) == ["b"]


def test_the_others_go_on_without_one_that_was_aborted_from_the_next_iteration_on() -> None:
    run = engine()
    for id in "ab":
        run.submit(request(id, 4, 9, prefilled=True), 0.0)
    begin(run)
    assert ended(run) == []  # both until 1.0, and from there on
    assert run.due_s == 9.0
    assert run.abort("b", 2.25)
    assert not run.abort("b", 2.25)
    assert run.due_s == 3.0
    assert ended(run) == []
    assert run.due_s == 3.0 + 6 * 0.5


def test_kv_that_is_released_lets_the_next_one_in() -> None:
    run = engine(kv_tokens=64)
    run.submit(request("a", 60, 1, hold=True), 0.0)
    begin(run)
    run.submit(request("b", 60, 1, hold=True), 1.0)
    assert ended(run) == ["a"]
    assert run.due_s == math.inf
    assert run.release("a", 20.0)
    assert run.due_s == 20.0
    begin(run)
    assert run.due_s == 20.0 + 15.0
    assert not run.release("b", 21.0)


def test_an_idle_engine_is_never_due() -> None:
    with pytest.raises(RuntimeError, match="idle"):
        engine().advance()


def test_a_refused_request_leaves_no_trace() -> None:
    run = engine(kv_tokens=16)
    assert run.submit(request("a", 16, 2), 0.0) is not None
    assert (run.due_s, run.model.waiting) == (math.inf, 0)


def test_totals_go_up_to_the_moment() -> None:
    run = engine()
    run.submit(request("a", 4, 9), 10.0)
    begin(run)
    assert run.totals(10.5) == (0, 0.5, 0, 0)
    run.advance()
    assert run.totals(11.75) == (2, 1.75, 4, 1)  # the prefill and one step are over
    assert run.model.kv_used_tokens == 16
    assert run.due_s == 15.0
    run.advance()
    assert run.totals(99.0) == (9, 5.0, 4, 8)


def test_a_long_answer_costs_no_more_than_a_short_one() -> None:
    run = EngineRun(EngineProfile(timing=MILLISECOND_A_TOKEN, kv_tokens=1 << 24))
    run.submit(request("a", 100, 1_000_001), 0.0)
    begin(run)
    assert (ended(run), ended(run)) == ([], ["a"])
    assert run.totals(1e6) == (1_000_001, pytest.approx(0.1 + 1e4), 100, 1_000_000)


def test_an_observer_sees_every_iteration_of_a_jump() -> None:
    seen: list[tuple[float, float, int, int, int]] = []
    profile = EngineProfile(timing=QUARTERS)
    run = EngineRun(profile, lambda *iteration: seen.append(iteration))
    run.submit(request("a", 4, 4), 0.0)
    begin(run)
    run.advance()
    run.advance()
    assert seen == [
        (0.0, 1.0, 4, 0, 0),
        (1.0, 1.5, 0, 1, 5),
        (1.5, 2.0, 0, 1, 6),
        (2.0, 2.5, 0, 1, 7),
    ]
