import math
from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from weir.domain.fleet import Role, Slo
from weir.domain.profile import EngineProfile, PolynomialTiming
from weir.sizing.capacity import replica_capacity_rps
from weir.sizing.queueing import Queue

ROLES = st.sampled_from(Role)
LENGTHS = st.integers(1, 20_000)
PROFILES = st.builds(
    EngineProfile,
    timing=st.builds(
        PolynomialTiming,
        prefill_s=st.tuples(st.floats(0.0, 0.05), st.floats(1e-6, 1e-3)),
        decode_s=st.tuples(st.floats(0.001, 0.05), st.floats(0.0, 0.1)),
        decode_per_sequence_s=st.floats(0.0, 0.01),
    ),
    kv_tokens=st.integers(1000, 500_000),
    max_sequences=st.integers(1, 64),
    max_batched_tokens=st.integers(256, 16_384),
    chunked_prefill=st.booleans(),
)
SLOS = st.builds(
    Slo,
    ttft_s=st.floats(0.01, 20.0),
    itl_s=st.floats(0.002, 0.5),
    percentile=st.floats(0.5, 0.999),
)


@given(PROFILES, ROLES, SLOS, LENGTHS, LENGTHS, st.floats(1.0, 10.0), st.floats(1.0, 10.0))
def test_looser_targets_never_lower_capacity(
    profile: EngineProfile, role: Role, slo: Slo, isl: int, osl: int, a: float, b: float
) -> None:
    loose = Slo(ttft_s=slo.ttft_s * a, itl_s=slo.itl_s * b, percentile=slo.percentile)
    tight_rps = replica_capacity_rps(profile, role, slo, isl, osl, utilization=0.8)
    loose_rps = replica_capacity_rps(profile, role, loose, isl, osl, utilization=0.8)
    if tight_rps is not None:
        assert loose_rps is not None
        assert loose_rps >= tight_rps * (1.0 - 2e-3)


# At the full rate the largest batch keeps prompts waiting too long: then less of it is planned,
# not a smaller batch.
WAITING = EngineProfile(
    timing=PolynomialTiming(prefill_s=(0.03125, 0.001), decode_s=(0.03125, 0.0)),
    kv_tokens=1000,
    max_sequences=3,
    max_batched_tokens=256,
    chunked_prefill=False,
)


@example(WAITING, Role.AGG, Slo(ttft_s=1.0, itl_s=0.5, percentile=0.5), 1, 1, 0.5)
@given(PROFILES, ROLES, SLOS, LENGTHS, LENGTHS, st.floats(0.1, 1.0))
def test_capacity_is_positive_and_grows_with_utilization(
    profile: EngineProfile, role: Role, slo: Slo, isl: int, osl: int, utilization: float
) -> None:
    full_rps = replica_capacity_rps(profile, role, slo, isl, osl)
    part_rps = replica_capacity_rps(profile, role, slo, isl, osl, utilization=utilization)
    if full_rps is not None:
        assert part_rps is not None
        assert 0.0 < part_rps <= full_rps * (1.0 + 2e-3)


@given(PROFILES, SLOS, LENGTHS, LENGTHS, LENGTHS)
def test_longer_outputs_never_raise_decode_capacity(
    profile: EngineProfile, slo: Slo, isl: int, osl: int, more: int
) -> None:
    short = replica_capacity_rps(profile, Role.DECODE, slo, isl, osl)
    long = replica_capacity_rps(profile, Role.DECODE, slo, isl, osl + more)
    assert (long or 0.0) <= (short or 0.0) * (1.0 + 1e-9)


@given(
    PROFILES,
    ROLES,
    SLOS,
    LENGTHS,
    LENGTHS,
    st.floats(1.0, 50.0),
    st.floats(1.0, 4.0),
    st.floats(0.0, 8.0),
    st.floats(1.0, 8.0),
)
def test_more_replicas_never_lower_capacity_and_bursts_never_raise_it(
    profile: EngineProfile,
    role: Role,
    slo: Slo,
    isl: int,
    osl: int,
    replicas: float,
    times: float,
    spread: float,
    burstiness: float,
) -> None:
    def rate_rps(queue: Queue) -> float:
        found = replica_capacity_rps(profile, role, slo, isl, osl, utilization=0.9, queue=queue)
        return found or 0.0

    queue = Queue(replicas=replicas, isl_spread=spread, osl_spread=spread)
    assert rate_rps(replace(queue, replicas=replicas * times)) >= rate_rps(queue) * (1.0 - 2e-3)
    assert rate_rps(replace(queue, burstiness=burstiness)) <= rate_rps(queue) * (1.0 + 2e-3)


@given(PROFILES, ROLES, SLOS, LENGTHS, LENGTHS, st.floats(0.0, 1.0))
def test_what_the_cache_holds_never_lowers_capacity(
    profile: EngineProfile, role: Role, slo: Slo, isl: int, osl: int, cached: float
) -> None:
    without = replica_capacity_rps(profile, role, slo, isl, osl)
    with_cache = replica_capacity_rps(profile, role, slo, isl, osl, cached_share=cached)
    assert (with_cache or 0.0) >= (without or 0.0) * (1.0 - 0.05)


@given(PROFILES, SLOS, LENGTHS, LENGTHS, st.floats(0.3, 3.0))
def test_engines_that_are_faster_by_a_factor_serve_more_by_it(
    profile: EngineProfile, slo: Slo, isl: int, osl: int, factor: float
) -> None:
    fast = replace(profile, speed=factor)
    scaled = Slo(ttft_s=slo.ttft_s / factor, itl_s=slo.itl_s / factor, percentile=slo.percentile)
    for role in (Role.PREFILL, Role.DECODE):
        slow_rps = replica_capacity_rps(profile, role, slo, isl, osl)
        fast_rps = replica_capacity_rps(fast, role, scaled, isl, osl)
        if slow_rps is not None and fast_rps is not None:
            assert math.isclose(fast_rps, slow_rps * factor, rel_tol=0.02)
