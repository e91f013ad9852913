from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from poolplanner.core.engine_fit import EngineFit
from poolplanner.core.engine_work import Basis
from tests.unit.poolplanner.passes import slower, window
from weir.domain.fleet import Role
from weir.domain.profile import EngineProfile, PolynomialTiming

PROFILES = st.builds(
    EngineProfile,
    timing=st.builds(
        PolynomialTiming,
        prefill_s=st.tuples(st.floats(0.0, 0.03), st.floats(2e-5, 1e-3)),
        decode_s=st.tuples(st.floats(0.005, 0.03), st.floats(0.0, 0.05)),
        decode_per_sequence_s=st.floats(0.0, 1e-3),
    ),
    max_batched_tokens=st.integers(1024, 8192),
)


@settings(max_examples=40)
@given(PROFILES, st.sampled_from(Role), st.floats(0.4, 1.6), st.integers(0, 10**6))
def test_the_fit_ends_at_what_engines_do_from_any_profile_within_60_percent(
    true: EngineProfile, role: Role, factor: float, seed: int
) -> None:
    fit, rng = EngineFit(Basis(slower(true, 1.0 / factor), role, 0.1)), Random(seed)
    for number in range(1, 25):
        fit.learn(window(true, role, rng), 5.0 * number)
    work = {
        "prefill_tokens": 0 if role is Role.DECODE else true.max_batched_tokens // 2,
        "sequences": 0 if role is Role.PREFILL else 20,
        "kv_used_tokens": 0 if role is Role.PREFILL else 20_000,
    }
    found_s, true_s = fit.profile.iteration_s(**work), true.iteration_s(**work)
    assert abs(found_s / true_s - 1.0) < 0.06
    assert 0.0 < fit.rel_std < 0.1


@settings(max_examples=25)
@given(PROFILES, st.sampled_from(Role), st.floats(0.3, 3.0), st.integers(0, 10**6))
def test_times_and_capacities_that_are_fitted_are_never_below_zero(
    prior: EngineProfile, role: Role, factor: float, seed: int
) -> None:
    fit, rng = EngineFit(Basis(prior, role, 0.1)), Random(seed)
    for number in range(1, 6):
        fit.learn(window(slower(prior, factor), role, rng), 5.0 * number)
        for tokens, sequences in ((1, 0), (0, 1), (1024, 0), (0, 256), (512, 64)):
            assert (
                fit.profile.iteration_s(
                    prefill_tokens=tokens, sequences=sequences, kv_used_tokens=sequences
                )
                >= 0.0
            )
