"""Jumping from change to change is the same as stepping every iteration, whatever is asked."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.engine.virtual import Story, jumped, stepped
from weir.domain.profile import EngineProfile, PolynomialTiming, TableTiming, Timing
from weir.engine.request import Request

BLOCK = 4

TIMINGS: dict[str, Timing] = {
    "table": TableTiming(prefill=((1.0, 0.002), (40.0, 0.01)), decode=((1.0, 0.01), (6.0, 0.02))),
    "flat": PolynomialTiming(
        prefill_s=(0.0, 3.3e-4), decode_s=(0.010,), decode_per_sequence_s=1e-3
    ),
    "square": PolynomialTiming(),
    "falling": PolynomialTiming(decode_s=(0.03, -0.01, -0.01), decode_per_sequence_s=1e-3),
    "clamped at times": PolynomialTiming(decode_s=(0.02, -0.05, 0.04), decode_min_s=0.01),
    "cube": PolynomialTiming(decode_s=(0.01, 0.02, 0.01, 0.05)),
}


@st.composite
def stories(draw: st.DrawFn) -> Story:
    profile = EngineProfile(
        timing=TIMINGS[draw(st.sampled_from(sorted(TIMINGS)))],
        kv_tokens=draw(st.integers(10 * BLOCK, 400)),
        block_tokens=BLOCK,
        max_sequences=draw(st.integers(1, 6)),
        max_batched_tokens=draw(st.integers(4, 60)),
        chunked_prefill=draw(st.booleans()),
        prefix_caching=draw(st.booleans()),
        speed=draw(st.sampled_from([1.0, 0.83, 3.0])),
    )
    lengths = st.tuples(
        st.integers(1, 60), st.integers(1, 80), st.booleans(), st.booleans(), st.integers(0, 2)
    )
    # Times that meet no end of an iteration by chance: whoever comes at that very moment may be
    # taken for early or for late. But some come in groups.
    random, now_s = Random(draw(st.integers(0, 10_000))), 0.0
    mean_s = draw(st.sampled_from([0.02, 0.1, 0.4]))
    arrivals, aborts = [], []
    for id, (prompt, output, prefilled, hold, family) in enumerate(
        draw(st.lists(lengths, min_size=1, max_size=20))
    ):
        now_s += random.expovariate(1.0 / mean_s) if random.random() < 0.8 else 0.0
        hashes = tuple(1000 * family + block for block in range(prompt // BLOCK))
        arrivals.append((now_s, Request(id, prompt, output, hashes, prefilled, hold)))
        if draw(st.integers(0, 3)) == 0:
            aborts.append((now_s + random.expovariate(1.0 / mean_s), id))
    return Story(profile=profile, arrivals=arrivals, aborts=aborts, fetch_s=random.random())


@given(stories())
def test_jumps_make_the_very_same_iterations_as_steps(story: Story) -> None:
    expected, got = stepped(story), jumped(story)
    assert got.iterations == expected.iterations
    assert (got.first_s, got.finished_s) == (expected.first_s, expected.finished_s)
    assert got.refused == expected.refused
    assert got.preemptions == expected.preemptions
    assert got.prefix_hit_tokens == expected.prefix_hit_tokens
    assert got.prefill_tokens == expected.prefill_tokens
    assert got.decode_tokens == expected.decode_tokens
    assert got.busy_s == pytest.approx(expected.busy_s, abs=1e-9)
    assert got.wakes <= expected.wakes
