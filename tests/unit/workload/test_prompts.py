"""Prompts have the length they should and share nothing."""

import pytest

from weir.workload import prompt_of


@pytest.mark.parametrize("tokens", [0, 1, 2, 7, 1200, 16_384])
def test_a_prompt_counts_as_its_tokens_at_four_bytes_each(tokens: int) -> None:
    assert -(-len(prompt_of(tokens, 1).encode()) // 4) == tokens


def test_the_same_seed_gives_the_same_prompt_and_prefixes_of_it() -> None:
    assert prompt_of(100, "a") == prompt_of(100, "a")
    assert prompt_of(100, "a").startswith(prompt_of(10, "a"))


def test_a_thousand_seeds_share_no_cache_block() -> None:
    blocks = {prompt_of(16, seed) for seed in range(1000)}
    assert len(blocks) == 1000


def test_a_negative_length_is_refused() -> None:
    with pytest.raises(ValueError, match="tokens must be >= 0"):
        prompt_of(-1, 0)
