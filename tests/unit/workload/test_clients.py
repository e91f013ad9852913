"""Clients that lose patience, and clients that come back."""

import math
from random import Random

import pytest

from weir.workload import ClientBehaviour


def test_a_client_without_a_limit_waits_for_ever_and_draws_nothing() -> None:
    rng = Random(1)
    assert ClientBehaviour().patience_s(rng) == math.inf
    assert rng.random() == Random(1).random()


def test_patience_is_exponential_about_its_mean() -> None:
    clients, rng = ClientBehaviour(patience_s=8.0), Random(2)
    waits_s = sorted(clients.patience_s(rng) for _ in range(10_000))
    assert sum(waits_s) / 10_000 == pytest.approx(8.0, rel=0.05)
    assert waits_s[5_000] == pytest.approx(8.0 * math.log(2.0), rel=0.05)


def test_patience_may_be_the_same_for_all() -> None:
    assert ClientBehaviour(patience_s=8.0, fixed=True).patience_s(Random(0)) == 8.0


def test_a_shed_client_comes_back_as_often_as_it_may() -> None:
    clients, rng = ClientBehaviour(retries=2), Random(3)
    delays_s = [clients.retry_after_s(attempt, 4.0, rng) for attempt in (1, 2, 3)]
    assert [delay_s is None for delay_s in delays_s] == [False, False, True]


def test_retries_heed_retry_after_and_are_spread() -> None:
    clients, rng = ClientBehaviour(retries=1), Random(4)
    delays_s = [clients.retry_after_s(1, 4.0, rng) or 0.0 for _ in range(1000)]
    assert 4.0 <= min(delays_s) < 4.1
    assert 5.9 < max(delays_s) <= 6.0


@pytest.mark.parametrize("patience_s", [0.0, -1.0, math.inf, math.nan])
def test_a_patience_that_is_no_positive_number_is_refused(patience_s: float) -> None:
    with pytest.raises(ValueError, match="patience_s must be"):
        ClientBehaviour(patience_s=patience_s)


def test_a_negative_number_of_retries_is_refused() -> None:
    with pytest.raises(ValueError, match="retries must be"):
        ClientBehaviour(retries=-1)
