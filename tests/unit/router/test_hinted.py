"""Outputs that clients foretell: a prior of four requests that were right."""

from router.core.hinted import HintedLengths
from weir.domain.ids import ModelName

M = ModelName("m")


def test_a_hint_is_believed_until_something_else_is_seen() -> None:
    assert HintedLengths().estimate(M, "t", 100) == 100


def test_who_always_says_too_little_is_corrected() -> None:
    hinted = HintedLengths()
    for _ in range(4):
        hinted.observe(M, "", 10, 300)
    # (4 x 30 + 4 x 1) / 8 = 15.5 times what is said, a little less since the older ones fade.
    assert 150 <= hinted.estimate(M, "", 10) <= 155
    for _ in range(200):
        hinted.observe(M, "", 10, 300)
    assert 285 <= hinted.estimate(M, "", 10) <= 300


def test_a_tenant_is_corrected_for_itself_and_starts_from_what_all_show() -> None:
    hinted = HintedLengths()
    for _ in range(500):
        hinted.observe(M, "liar", 10, 200)
        hinted.observe(M, "honest", 10, 10)
    assert hinted.estimate(M, "liar", 10) > 190
    assert hinted.estimate(M, "honest", 10) <= 12
    assert 80 < hinted.estimate(M, "new", 10) < 120


def test_hints_of_another_size_are_another_matter() -> None:
    hinted = HintedLengths()
    for _ in range(100):
        hinted.observe(M, "", 10, 300)
    assert hinted.estimate(M, "", 1000) == 1000


def test_nothing_is_expected_below_a_token_and_one_request_counts_only_so_much() -> None:
    hinted = HintedLengths()
    for _ in range(100):
        hinted.observe(M, "", 1, 0)
    assert hinted.estimate(M, "", 1) == 1
    hinted = HintedLengths()
    hinted.observe(M, "", 1, 10**9)
    assert hinted.estimate(M, "", 1) == round((64 + 4) / 5)


def test_clients_cannot_fill_the_memory() -> None:
    hinted = HintedLengths()
    for number in range(10_000):
        hinted.observe(M, str(number), 10, 10)
    assert len(hinted._cells) == 4096
