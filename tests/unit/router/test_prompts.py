"""Prompt tokens from bytes: a ratio per model and tenant, and what the template adds."""

import pytest

from router.core.lengths.prompts import PromptLengths
from weir.domain.ids import ModelName

M, OTHER = ModelName("m"), ModelName("other")


def _learn(
    prompts: PromptLengths, tenant: str, bytes_per_token: float, *, template: int = 0, times: int
) -> None:
    """Prompts of 100 to 12,800 bytes in turn."""
    for i in range(times):
        size = 100 * 2 ** (i % 8)
        estimate = prompts.estimate(M, tenant, size)
        tokens = round(size / bytes_per_token) + template
        prompts.observe(
            M, tenant, prompt_bytes=size, prompt_tokens=tokens, estimated_tokens=estimate
        )


def test_prompt_tokens_come_from_the_prior_until_something_is_learned() -> None:
    prompts = PromptLengths(4.0)
    assert prompts.estimate(M, "", 400) == 100
    assert prompts.estimate(M, "", 401) == 101
    assert prompts.estimate(M, "", 0) == 1


def test_bytes_per_token_of_a_model_is_learned_from_what_engines_count() -> None:
    prompts = PromptLengths(4.0)
    for _ in range(50):
        prompts.observe(M, "", prompt_bytes=2000, prompt_tokens=1000)
    assert abs(prompts.bytes_per_token(M, "") - 2.0) < 0.1
    assert prompts.bytes_per_token(OTHER, "") == 4.0


def test_a_tenant_starts_from_its_model_and_departs_on_its_own_evidence() -> None:
    prompts = PromptLengths(4.0)
    for _ in range(50):
        prompts.observe(M, "code", prompt_bytes=3000, prompt_tokens=1000)
    assert prompts.bytes_per_token(M, "new") == prompts.bytes_per_token(M, "")
    for _ in range(50):
        prompts.observe(M, "new", prompt_bytes=6000, prompt_tokens=1000)
    assert prompts.bytes_per_token(M, "new") > 5.5
    assert prompts.bytes_per_token(M, "code") < 3.5


def test_what_the_template_adds_is_told_apart_from_the_text() -> None:
    prompts = PromptLengths(4.0)
    _learn(prompts, "", 3.0, template=30, times=400)
    assert prompts.template_tokens(M) == pytest.approx(30, abs=2)
    assert prompts.estimate(M, "", 90) == pytest.approx(60, abs=3)
    assert prompts.estimate(M, "", 30_000) == pytest.approx(10_030, rel=0.02)


def test_a_template_is_not_seen_where_there_is_none() -> None:
    prompts = PromptLengths(4.0)
    _learn(prompts, "", 3.0, times=400)
    assert prompts.template_tokens(M) < 1.0


def test_one_odd_report_moves_the_ratio_little_and_nonsense_not_at_all() -> None:
    prompts = PromptLengths(4.0)
    prompts.observe(M, "", prompt_bytes=4, prompt_tokens=100)
    assert 3.5 < prompts.bytes_per_token(M, "") < 4.0
    before = prompts.estimate(M, "", 1000)
    prompts.observe(M, "", prompt_bytes=0, prompt_tokens=100)
    prompts.observe(M, "", prompt_bytes=100, prompt_tokens=0)
    assert prompts.estimate(M, "", 1000) == before


def test_many_tenants_do_not_push_out_what_the_model_has_taught() -> None:
    prompts = PromptLengths(4.0)
    for i in range(5000):
        prompts.observe(M, f"t{i}", prompt_bytes=200, prompt_tokens=100)
    assert prompts.bytes_per_token(M, "unseen") < 2.2


def test_errors_are_summed_by_model() -> None:
    prompts = PromptLengths(4.0)
    for estimated in (80, 130):
        prompts.observe(M, "a", prompt_bytes=400, prompt_tokens=100, estimated_tokens=estimated)
    prompts.observe(M, "a", prompt_bytes=400, prompt_tokens=100)  # Counted, not estimated.
    errors = prompts.errors[M]
    assert (errors.prompts, errors.tokens) == (2, 200)
    assert (errors.too_many, errors.too_few) == (30, 20)


def test_doubt_falls_where_estimates_prove_right_and_stays_where_they_do_not() -> None:
    prompts = PromptLengths(4.0)
    at_first = prompts.doubt(M, "steady")
    _learn(prompts, "steady", 4.0, times=200)
    for i in range(200):
        size = 1000
        estimate = prompts.estimate(M, "mixed", size)
        tokens = 200 if i % 2 else 500
        prompts.observe(
            M, "mixed", prompt_bytes=size, prompt_tokens=tokens, estimated_tokens=estimate
        )
    assert prompts.doubt(M, "steady") < 0.2 * at_first
    assert prompts.doubt(M, "mixed") > at_first
