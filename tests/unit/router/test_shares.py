"""Smooth weighted round robin."""

from collections import Counter

from router.core.shares import ShareKey, SmoothShares
from weir.domain.fleet import Stage
from weir.domain.ids import ClassName, ModelName, PoolId

KEY: ShareKey = (ClassName("c"), ModelName("m"), Stage.PREFILL)
A, B, C = PoolId("a"), PoolId("b"), PoolId("c")


def _send(shares: SmoothShares, weights: dict[PoolId, float], times: int) -> list[PoolId]:
    sent = []
    for _ in range(times):
        sent.append(shares.order(KEY, weights)[0])
        shares.sent(KEY, weights, sent[-1])
    return sent


def test_requests_follow_the_shares_evenly() -> None:
    # Of four requests three go to A, never more than three in a row.
    assert _send(SmoothShares(), {A: 0.75, B: 0.25}, 8) == [A, A, B, A, A, A, B, A]


def test_counts_are_within_one_of_the_share() -> None:
    weights = {A: 0.5, B: 0.3, C: 0.2}
    for times in range(1, 50):
        counts = Counter(_send(SmoothShares(), weights, times))
        assert all(abs(counts[p] - w * times) <= 1.0 for p, w in weights.items())


def test_looking_does_not_move_the_turn() -> None:
    shares = SmoothShares()
    assert [shares.order(KEY, {A: 0.6, B: 0.4})[0] for _ in range(5)] == [A] * 5


def test_a_pool_that_was_away_is_not_flooded_when_it_is_back() -> None:
    shares = SmoothShares()
    weights = {A: 0.5, B: 0.5}
    for _ in range(1000):
        shares.sent(KEY, weights, A)
    back = _send(shares, weights, 20)
    assert back[:10].count(B) <= 7
    assert back[10:].count(B) <= 6


def test_classes_take_turns_on_their_own() -> None:
    shares = SmoothShares()
    other = (ClassName("d"), KEY[1], KEY[2])
    shares.sent(KEY, {A: 0.5, B: 0.5}, A)
    assert shares.order(KEY, {A: 0.5, B: 0.5})[0] == B
    assert shares.order(other, {A: 0.5, B: 0.5})[0] == A
