"""Whatever lengths are like: expectations stay in bounds, and quantiles hold."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.lengths.lifetable import LifeTable, Prior, bucket
from router.core.lengths.outputs import OutputLengths, shape_of
from router.core.lengths.prompts import PromptLengths
from weir.domain.ids import ModelName

M = ModelName("m")
LENGTHS = st.integers(0, 300_000)


@given(st.lists(st.tuples(LENGTHS, LENGTHS), max_size=60), st.none() | st.integers(1, 10_000))
def test_expectations_are_ordered_and_within_max_tokens(
    lives: list[tuple[int, int]], max_tokens: int | None
) -> None:
    outputs = OutputLengths(256.0)
    shape = shape_of(M, 100, max_tokens)
    for seen, osl in lives:
        passed = outputs.has_passed(shape, "t", seen) if seen < osl else 0
        outputs.ended(shape, "t", osl, passed)
        expected = outputs.expect(shape, "t", max_tokens)
        assert 1 <= expected.typical_tokens <= expected.most_tokens
        assert min(expected.mean_tokens, expected.held_tokens) >= 1
        if max_tokens is not None:
            assert max(expected.most_tokens, expected.mean_tokens) <= max_tokens


@given(st.lists(st.tuples(LENGTHS, st.booleans()), max_size=80))
def test_shares_are_a_distribution_also_where_outputs_are_given_up(
    lives: list[tuple[int, bool]],
) -> None:
    table = LifeTable(Prior.exponential(256.0), 64)
    for tokens, ended in lives:
        if ended:
            table.ended(tokens, bucket(tokens))
        elif bucket(tokens):
            table.has_passed(0, bucket(tokens))
        table.expect()
        assert min(table.shares) >= 0.0
        assert sum(table.shares) == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(6))
def test_quantiles_hold_on_lengths_of_many_kinds(seed: int) -> None:
    """Mixtures of up to three kinds that change every 2,000 requests, short ones ending first."""
    rng = random.Random(seed)
    outputs = OutputLengths(256.0)
    shape = shape_of(M, 100, None)
    within = above = 0
    kinds: list[tuple[float, float]] = []
    flying: list[tuple[int, int]] = []
    for number in range(8000):
        if number % 2000 == 0:
            kinds = [(rng.uniform(1.0, 8.0), rng.uniform(0.0, 1.0)) for _ in range(3)]
        osl = int(rng.lognormvariate(*rng.choice(kinds)))
        expected = outputs.expect(shape, "", None)
        within += osl <= expected.most_tokens
        above += osl > expected.typical_tokens
        flying.append((number + osl // 10, osl))
        for landed in [f for f in flying if f[0] <= number]:
            flying.remove(landed)
            outputs.ended(shape, "", landed[1])
    assert 0.86 <= within / 8000 <= 0.94
    assert 0.42 <= above / 8000 <= 0.58


@given(st.lists(st.tuples(st.integers(-5, 10**7), st.integers(-5, 10**7)), max_size=50))
def test_prompts_are_estimated_whatever_engines_report(reports: list[tuple[int, int]]) -> None:
    prompts = PromptLengths(4.0)
    for size, tokens in reports:
        estimate = prompts.estimate(M, "t", max(0, size))
        assert estimate >= 1
        prompts.observe(M, "t", prompt_bytes=size, prompt_tokens=tokens, estimated_tokens=estimate)
        assert 0.0 <= prompts.relative_error(M, "t") <= 1.0
        assert 0.0 <= prompts.template_tokens(M) <= 256.0
        assert 0.05 <= prompts.bytes_per_token(M, "t") <= 64.0
