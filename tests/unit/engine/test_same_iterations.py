"""The mock engine, which steps, and a simulated one, which jumps, are one and the same engine."""

from collections.abc import Callable
from random import Random

import pytest

from tests.unit.engine.virtual import Story, jumped, stepped
from weir.domain.profile import EngineProfile, PolynomialTiming
from weir.engine.request import Request

REQUESTS = 500
FLAT = PolynomialTiming(
    prefill_s=(0.0, 3.3333e-4), decode_s=(0.010,), decode_per_sequence_s=0.9375e-3
)
GROWING = PolynomialTiming()
CLAMPED = PolynomialTiming(decode_s=(0.02, -0.05, 0.04), decode_min_s=0.008)

Make = Callable[[Random, int], Request]


def prefill_leg(random: Random, id: int) -> Request:
    return Request(id, random.randint(10, 1200), 1, hold=True)


def decode_leg(random: Random, id: int) -> Request:
    return Request(id, random.randint(10, 1200), random.randint(2, 360), prefilled=True)


def whole(random: Random, id: int) -> Request:
    """Both legs in one, the prompts of three families with a common beginning each."""
    isl = random.randint(10, 1200)
    family, shared = random.randint(1, 3), random.randint(0, isl // 16)
    own = tuple(10_000 * (id + 10) + block for block in range(isl // 16 - shared))
    hashes = tuple(1000 * family + block for block in range(shared)) + own
    return Request(id, isl, random.randint(2, 360), hashes)


def story(make: Make, rate_rps: float, profile: EngineProfile) -> Story:
    """500 Poisson arrivals; one client in ten goes away within some seconds."""
    random, now_s, arrivals, aborts = Random(7), 0.0, [], []
    for id in range(REQUESTS):
        now_s += random.expovariate(rate_rps)
        arrivals.append((now_s, make(random, id)))
        if random.random() < 0.1:
            aborts.append((now_s + random.expovariate(0.3), id))
    return Story(profile=profile, arrivals=arrivals, aborts=aborts)


def profile(timing: PolynomialTiming, kv_tokens: int = 262_144, **more: int) -> EngineProfile:
    batch = {"max_sequences": 32, "max_batched_tokens": 2048} | more
    return EngineProfile(timing=timing, kv_tokens=kv_tokens, **batch)


@pytest.mark.parametrize("timing", [FLAT, GROWING, CLAMPED], ids=["flat", "growing", "clamped"])
@pytest.mark.parametrize(
    ("make", "rate_rps", "kv_tokens", "preempts", "hits"),
    [
        (prefill_leg, 3.7, 262_144, False, False),
        (decode_leg, 4.1, 262_144, False, False),
        (decode_leg, 4.1, 12_000, True, False),
        (whole, 2.5, 262_144, False, True),
        (whole, 4.0, 5_000, True, True),
    ],
    ids=["prefill", "decode", "decode short of KV", "aggregated", "aggregated short of KV"],
)
def test_500_requests_take_the_very_same_iterations(
    make: Make,
    rate_rps: float,
    kv_tokens: int,
    preempts: bool,
    hits: bool,
    timing: PolynomialTiming,
) -> None:
    told = story(make, rate_rps, profile(timing, kv_tokens))
    expected, got = stepped(told), jumped(told)
    assert got.iterations == expected.iterations
    assert got.first_s == expected.first_s
    assert got.finished_s == expected.finished_s
    # And the story had in it what it is told for.
    assert len(got.finished_s) > 0.8 * REQUESTS
    assert (got.preemptions > 0, got.prefix_hit_tokens > 0) == (preempts, hits)
    assert len(got.iterations) >= got.wakes
