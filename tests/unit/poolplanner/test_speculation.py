import pytest

from poolplanner.core.promql import Series, query_of_engines
from poolplanner.core.speculation import ACCEPT_NAMES, accept_length


def _series(name: str, *values: float, on: str = "w:1") -> Series:
    points = tuple((float(at_s), value) for at_s, value in enumerate(values))
    return Series(labels={"__name__": name, "instance": on}, points=points)


def test_one_token_more_than_was_accepted_comes_of_each_draft() -> None:
    answer = [
        _series("vllm:spec_decode_num_drafts_total", 100, 110, 120),
        _series("vllm:spec_decode_num_accepted_tokens_total", 50, 60, 80),
        # Begun anew: what it shows has come since then.
        _series("vllm:spec_decode_num_drafts_total", 900, 10, on="w:2"),
        _series("vllm:spec_decode_num_accepted_tokens_total", 900, 30, on="w:2"),
    ]
    assert accept_length(answer) == pytest.approx(1.0 + (30 + 30) / (20 + 10))


def test_names_may_be_spelled_without_colons() -> None:
    answer = [
        _series("vllm_spec_decode_num_drafts_total", 0, 10),
        _series("vllm_spec_decode_num_accepted_tokens_total", 0, 5),
    ]
    assert accept_length(answer) == pytest.approx(1.5)
    question = query_of_engines(ACCEPT_NAMES, models=["m"], range_s=3.0)
    assert "vllm:spec_decode_num_drafts_total|" in question
    assert "|vllm_spec_decode_num_drafts_total" in question


def test_engines_that_show_the_mean_are_believed_unless_they_do_not_speculate() -> None:
    shown = [_series("sglang:spec_accept_length", 0.0, value) for value in (3.0, 2.0, 0.0)]
    assert accept_length(shown) == pytest.approx(2.5)


def test_what_nobody_tells_is_unknown() -> None:
    assert accept_length([]) is None
    assert accept_length([_series("sglang:spec_accept_length", 0.0)]) is None
    assert accept_length([_series("vllm:spec_decode_num_drafts_total", 7, 7)]) is None
    assert accept_length([_series("up", 1, 1)]) is None
