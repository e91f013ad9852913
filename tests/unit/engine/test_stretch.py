from itertools import accumulate

import pytest

from weir.domain.profile import EngineProfile, PolynomialTiming, TableTiming, Timing
from weir.engine.stretch import Stretch

KV_TOKENS = 10_000
GROWING = PolynomialTiming()
TABLE = TableTiming(prefill=((1.0, 1.0), (2.0, 1.0)), decode=((1.0, 0.01), (32.0, 0.04)))


def profile(timing: Timing, speed: float = 1.0) -> EngineProfile:
    return EngineProfile(timing=timing, kv_tokens=KV_TOKENS, speed=speed)


def stretch(profile: EngineProfile, sequences: int, context_tokens: int) -> Stretch:
    stretch = Stretch()
    stretch.begin(100.0, profile.decode_course(sequences=sequences, kv_used_tokens=context_tokens))
    return stretch


@pytest.mark.parametrize("timing", [GROWING, TABLE])
@pytest.mark.parametrize("speed", [1.0, 0.83])
def test_iterations_end_when_their_durations_add_up_to_it(timing: Timing, speed: float) -> None:
    engine = profile(timing, speed)
    durations_s = [
        engine.iteration_s(prefill_tokens=0, sequences=8, kv_used_tokens=2000 + 8 * k)
        for k in range(900)
    ]
    it = stretch(engine, 8, 2000)
    ends_s = [100.0 + sum_s for sum_s in accumulate(durations_s)]
    assert [it.end_s(count) for count in range(1, 901)] == pytest.approx(ends_s, abs=1e-9)
    assert it.end_s(1) == 100.0 + durations_s[0]


def test_the_course_is_known_until_the_kv_is_full_and_constant_from_then_on() -> None:
    # 8 iterations from 9,300 on: 9,300, 9,400, ... 10,000 tokens.
    assert stretch(profile(GROWING), 100, 9300).most == 8
    full = stretch(profile(GROWING), 100, 10_000)
    assert full.most == float("inf")
    assert full.end_s(50) == 100.0 + 50 * GROWING.decode_time_s(100, 1.0)


@pytest.mark.parametrize(
    ("timing", "known"),
    [
        (PolynomialTiming(decode_s=(0.01, -0.005), decode_min_s=0.004), True),
        (PolynomialTiming(decode_s=(0.01, -0.009), decode_min_s=0.004), False),
        (PolynomialTiming(decode_s=(0.01, 0.0, 0.0, 0.01)), False),
    ],
)
def test_where_the_least_time_may_bind_or_the_power_is_above_two_each_iteration_stands_alone(
    timing: PolynomialTiming, known: bool
) -> None:
    assert (stretch(profile(timing), 1, 10).most > 1) is known


@pytest.mark.parametrize("timing", [GROWING, TABLE])
def test_a_moment_finds_the_iterations_that_have_begun_before_it(timing: Timing) -> None:
    it = stretch(profile(timing), 4, 100)
    it.advance(1)
    for later in range(40):
        middle_s = (it.end_s(1 + later) + it.end_s(later or 1)) / 2
        assert it.begun_before(middle_s, 40) == later
        assert it.begun_before(it.end_s(1 + later), 40) == later
    assert it.begun_before(it.end_s(99), 40) == 40
