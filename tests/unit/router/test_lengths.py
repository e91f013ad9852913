"""Learned lengths: from wide to narrow, bounded, and never above what was asked for."""

from router.core.lengths import OutputLengths, PromptLengths
from weir.domain.ids import ModelName

M, OTHER = ModelName("m"), ModelName("other")


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


def test_one_odd_report_moves_the_ratio_little_and_nonsense_not_at_all() -> None:
    prompts = PromptLengths(4.0)
    prompts.observe(M, "", prompt_bytes=4, prompt_tokens=100)
    assert 3.5 < prompts.bytes_per_token(M, "") < 4.0
    before = prompts.bytes_per_token(M, "")
    prompts.observe(M, "", prompt_bytes=0, prompt_tokens=100)
    prompts.observe(M, "", prompt_bytes=100, prompt_tokens=0)
    assert prompts.bytes_per_token(M, "") == before


def test_output_length_is_the_prior_capped_by_max_tokens_when_nothing_is_known() -> None:
    outputs = OutputLengths(256.0)
    assert outputs.estimate(M, "", isl_tokens=10, max_tokens=None) == 256
    assert outputs.estimate(M, "", isl_tokens=10, max_tokens=100) == 100
    assert outputs.estimate(M, "", isl_tokens=10, max_tokens=0) == 1


def test_output_length_is_learned_by_shape() -> None:
    outputs = OutputLengths(256.0)
    for _ in range(100):
        outputs.observe(M, "", isl_tokens=100, max_tokens=1000, osl_tokens=20)
        outputs.observe(M, "", isl_tokens=4000, max_tokens=1000, osl_tokens=600)
    assert abs(outputs.estimate(M, "", isl_tokens=100, max_tokens=1000) - 20) <= 20
    assert abs(outputs.estimate(M, "", isl_tokens=4000, max_tokens=1000) - 600) <= 20


def test_a_shape_not_seen_before_falls_back_to_the_wider_one() -> None:
    outputs = OutputLengths(256.0)
    for _ in range(200):
        outputs.observe(M, "a", isl_tokens=100, max_tokens=1000, osl_tokens=40)
    assert abs(outputs.estimate(M, "b", isl_tokens=100, max_tokens=1000) - 40) <= 5
    assert abs(outputs.estimate(M, "", isl_tokens=9000, max_tokens=1000) - 40) <= 5
    assert abs(outputs.estimate(M, "", isl_tokens=9000, max_tokens=None) - 40) <= 10
    assert outputs.estimate(OTHER, "", isl_tokens=100, max_tokens=None) == 256


def test_a_change_of_traffic_is_followed_within_some_hundred_requests() -> None:
    outputs = OutputLengths(256.0)
    for _ in range(1000):
        outputs.observe(M, "", isl_tokens=100, max_tokens=None, osl_tokens=100)
    for _ in range(700):
        outputs.observe(M, "", isl_tokens=100, max_tokens=None, osl_tokens=500)
    assert outputs.estimate(M, "", isl_tokens=100, max_tokens=None) > 450


def test_many_tenants_do_not_push_out_what_the_model_has_taught() -> None:
    outputs, prompts = OutputLengths(256.0), PromptLengths(4.0)
    for i in range(5000):
        outputs.observe(M, f"t{i}", isl_tokens=100, max_tokens=None, osl_tokens=10)
        prompts.observe(M, f"t{i}", prompt_bytes=200, prompt_tokens=100)
    assert outputs.estimate(M, "unseen", isl_tokens=100, max_tokens=None) < 15
    assert prompts.bytes_per_token(M, "unseen") < 2.2
