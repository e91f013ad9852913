"""Smooth weighted round robin."""

from collections import Counter

from router.core.shares import Turns
from weir.domain.ids import PoolId

A, B, C = PoolId("a"), PoolId("b"), PoolId("c")


def _send(turns: Turns, weights: dict[PoolId, float], times: int) -> list[PoolId]:
    sent = []
    for _ in range(times):
        sent.append(turns.order(weights)[0])
        turns.sent(weights, sent[-1])
    return sent


def test_requests_follow_the_shares_evenly() -> None:
    # Of four requests three go to A, never more than three in a row.
    assert _send(Turns(), {A: 0.75, B: 0.25}, 8) == [A, A, B, A, A, A, B, A]


def test_counts_are_within_one_of_the_share() -> None:
    weights = {A: 0.5, B: 0.3, C: 0.2}
    for times in range(1, 50):
        counts = Counter(_send(Turns(), weights, times))
        assert all(abs(counts[p] - w * times) <= 1.0 for p, w in weights.items())


def test_looking_does_not_move_the_turn() -> None:
    turns = Turns()
    assert [turns.order({A: 0.6, B: 0.4})[0] for _ in range(5)] == [A] * 5


def test_a_pool_that_was_away_is_not_flooded_when_it_is_back() -> None:
    turns = Turns()
    weights = {A: 0.5, B: 0.5}
    for _ in range(1000):
        turns.sent(weights, A)
    back = _send(turns, weights, 20)
    assert back[:10].count(B) <= 7
    assert back[10:].count(B) <= 6


def test_who_is_next_is_the_first_in_order() -> None:
    turns = Turns()
    weights = {A: 0.3, B: 0.5, C: 0.2}
    for _ in range(100):
        assert turns.next(weights) == turns.order(weights)[0]
        turns.sent(weights, turns.next(weights))
