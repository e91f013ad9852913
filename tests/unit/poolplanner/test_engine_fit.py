from dataclasses import replace
from random import Random

import pytest

from poolplanner.core.engine_fit import PRIOR_REL_STD, EngineFit
from poolplanner.core.engine_work import Basis, works
from tests.unit.poolplanner.passes import slower, window
from tests.unit.poolplanner.pools import PROFILE
from weir.domain.fleet import Role
from weir.domain.ids import WorkerId
from weir.domain.profile import EngineProfile, PolynomialTiming, TableTiming

ROUND_S, MINUTE = 5.0, 12
DYNAMOS = EngineProfile()
TABLE = EngineProfile(
    timing=TableTiming(prefill=((1, 0.01), (8192, 0.6)), decode=((1, 0.01), (256, 0.09)))
)


def _fit(role: Role, prior: EngineProfile = PROFILE) -> EngineFit:
    return EngineFit(Basis(prior, role, 0.05))


def _run(fit: EngineFit, true: EngineProfile, role: Role, rounds: int, seed: int = 0) -> None:
    rng = Random(seed)
    at_s = fit.at_s or 0.0
    for number in range(1, rounds + 1):
        fit.learn(window(true, role, rng), at_s + number * ROUND_S)


def _off(fit: EngineFit, true: EngineProfile, role: Role) -> float:
    """By how much a full iteration is predicted to be off, as a share."""
    half = true.max_batched_tokens // 2
    kind = {"prefill_tokens": 0 if role is Role.DECODE else half, "sequences": 0}
    kind["sequences"] = 0 if role is Role.PREFILL else 40
    kind["kv_used_tokens"] = kind["sequences"] * 1000
    return abs(fit.profile.iteration_s(**kind) / true.iteration_s(**kind) - 1.0)


@pytest.mark.parametrize("prior", [PROFILE, DYNAMOS, TABLE])
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("factor", [0.4, 0.7, 1.0, 1.4, 1.67])
def test_a_wrong_profile_is_right_within_a_minute(
    prior: EngineProfile, role: Role, factor: float
) -> None:
    fit, true = _fit(role, prior), slower(prior, factor)
    _run(fit, true, role, MINUTE)
    # A polynomial of the second degree is off by what iterations of a window differ in size.
    assert _off(fit, true, role) < 0.04
    assert fit.rel_std < 0.06


@pytest.mark.parametrize("role", Role)
def test_replaced_hardware_is_noticed_within_half_a_minute(role: Role) -> None:
    fit = _fit(role)
    _run(fit, PROFILE, role, 10 * MINUTE)
    assert (fit.jumps, _off(fit, PROFILE, role) < 0.02) == (0, True)
    true = slower(PROFILE, 1.4)
    _run(fit, true, role, MINUTE // 2, seed=1)
    assert fit.jumps >= 1
    assert _off(fit, true, role) < 0.04


def test_what_the_profile_lacks_is_learned_as_well() -> None:
    # A fixed cost of 20 ms in each iteration, on top of 0.1 ms per token.
    true = replace(PROFILE, timing=PolynomialTiming(prefill_s=(0.020, 1e-4)))
    fit = _fit(Role.PREFILL)
    _run(fit, true, Role.PREFILL, 5 * MINUTE)
    # Windows hold 550 tokens per iteration in the mean; far from that it is known less well.
    for tokens, rel in ((200, 0.3), (500, 0.04), (1000, 0.1)):
        found_s = fit.profile.iteration_s(prefill_tokens=tokens, sequences=0, kv_used_tokens=0)
        assert found_s == pytest.approx(0.020 + 1e-4 * tokens, rel=rel)


def test_rounds_that_cannot_be_believed_hardly_count() -> None:
    fit, rng = _fit(Role.DECODE), Random(4)
    for number in range(1, 4 * MINUTE):
        samples = list(window(PROFILE, Role.DECODE, rng))
        if number % 10 == 0:
            samples = [replace(s, busy_s=10.0 * (s.busy_s or 0.0)) for s in samples]
        fit.learn(samples, number * ROUND_S)
    assert fit.jumps == 0
    assert _off(fit, PROFILE, Role.DECODE) < 0.05


def test_one_odd_worker_among_several_is_left_out() -> None:
    fit, rng = _fit(Role.DECODE), Random(4)
    for number in range(1, MINUTE):
        samples = list(window(PROFILE, Role.DECODE, rng, workers=4))
        odd = replace(samples[-1], busy_s=2.0 * (samples[-1].busy_s or 0.0))
        fit.learn([*samples[:-1], odd], number * ROUND_S)
    assert _off(fit, PROFILE, Role.DECODE) < 0.03


def test_without_samples_the_profile_is_all_there_is_and_doubt_comes_back() -> None:
    fit = _fit(Role.AGG)
    assert _off(fit, PROFILE, Role.AGG) == 0.0
    assert fit.rel_std == pytest.approx(PRIOR_REL_STD, rel=0.15)
    _run(fit, PROFILE, Role.AGG, MINUTE)
    sure = fit.rel_std
    assert not fit.learn([], 4.0 * 3600.0)
    assert sure < 0.05 < fit.rel_std
    assert fit.rel_std == pytest.approx(PRIOR_REL_STD, rel=0.2)


@pytest.mark.parametrize(
    "unknown",
    [
        {"busy_s": None},
        {"iterations": None},
        {"prefill_tokens": None},
        {"iterations": 0},
        {"busy_s": 1e200},
    ],
)
def test_a_sample_that_cannot_tell_says_nothing(unknown: dict[str, float | None]) -> None:
    fit = _fit(Role.PREFILL)
    samples = [replace(s, **unknown) for s in window(slower(PROFILE, 2.0), Role.PREFILL, Random(1))]
    assert not fit.learn(samples, 5.0)
    assert _off(fit, PROFILE, Role.PREFILL) == 0.0


def test_prompts_that_a_decoding_engine_computes_again_are_no_slowness() -> None:
    fit, rng = _fit(Role.DECODE), Random(5)
    for number in range(1, MINUTE):
        fit.learn(window(PROFILE, Role.AGG, rng), number * ROUND_S)
    assert _off(fit, PROFILE, Role.DECODE) < 0.02


def test_samples_of_a_worker_are_added_up() -> None:
    (sample,) = window(PROFILE, Role.DECODE, Random(1), workers=1)
    other = replace(sample, worker_id=WorkerId("x"))
    both, alone = works([sample, sample, other])
    assert (both.iterations, both.decode_tokens) == (2 * alone.iterations, 2 * alone.decode_tokens)
    assert both.busy_s == pytest.approx(2.0 * alone.busy_s)


def test_the_profile_is_the_same_one_until_it_differs_notably() -> None:
    fit = _fit(Role.DECODE)
    _run(fit, PROFILE, Role.DECODE, MINUTE)
    before = fit.profile
    _run(fit, slower(PROFILE, 1.004), Role.DECODE, MINUTE, seed=2)
    assert fit.profile is before
    _run(fit, slower(PROFILE, 1.2), Role.DECODE, MINUTE, seed=3)
    assert fit.profile is not before
