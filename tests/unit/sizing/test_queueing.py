import math

import pytest

from weir.sizing.queueing import (
    Queue,
    greatest_share,
    held_share,
    late_share,
    mean_held_s,
    sizes,
)


def _erlang_c(servers: int, load: float) -> float:
    offered, blocked = servers * load, 1.0
    for n in range(1, servers + 1):
        blocked = offered * blocked / (n + offered * blocked)
    return blocked / (1.0 - load * (1.0 - blocked))


@pytest.mark.parametrize("servers", [1, 2, 8, 40, 200])
@pytest.mark.parametrize("load", [0.5, 0.7, 0.9, 0.97])
def test_who_finds_nobody_free_is_close_to_erlangs_formula(servers: int, load: float) -> None:
    exact = _erlang_c(servers, load)
    margin = (1.0 - load) * math.sqrt(servers)
    assert held_share(margin) == pytest.approx(exact, abs=0.05)


def test_one_server_and_exponential_times_wait_as_they_are_known_to() -> None:
    # M/M/1: whoever waits waits service / (1 - load) in the mean.
    queue = Queue()
    assert mean_held_s(queue, service_s=0.1, spread=1.0, load=0.5) == pytest.approx(0.2)
    assert late_share(0.5, 0.2, 0.2) == pytest.approx(0.5 * math.exp(-1.0))


def test_bursts_and_spread_lengthen_waits_and_replicas_shorten_them() -> None:
    def wait_s(**queue: float) -> float:
        return mean_held_s(Queue(**queue), service_s=0.1, spread=1.0, load=0.5)

    assert wait_s(burstiness=3.0) == pytest.approx(2.0 * wait_s())
    assert wait_s(replicas=4.0) == pytest.approx(wait_s() / 4.0)


def test_nothing_waits_for_ever_where_load_is_below_one() -> None:
    assert mean_held_s(Queue(), service_s=0.1, spread=1.0, load=1.0) == math.inf
    assert held_share(0.0) == 1.0
    assert held_share(100.0) == 0.0
    assert late_share(0.5, 0.2, math.inf) == 0.0
    assert late_share(0.5, 0.2, -0.1) == 1.0


def test_the_greatest_share_is_found_within_its_bounds() -> None:
    def found(most: float, least: float, beyond: float) -> float:
        return greatest_share(lambda share: share, least=least, most=most, beyond=beyond)

    assert found(1.0, 0.1, 0.6) == pytest.approx(0.6, abs=1e-4)
    assert found(0.5, 0.1, 0.6) == 0.5
    assert found(1.0, 0.7, 0.6) == 0.7


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.5, 8.0])
def test_sizes_stand_for_all_requests_and_keep_their_mean(spread: float) -> None:
    chosen = sizes(spread)
    assert sum(share for _, share in chosen) == pytest.approx(1.0)
    assert sum(size * share for size, share in chosen) == pytest.approx(1.0, rel=0.25)


@pytest.mark.parametrize("wrong", [{"replicas": 0.5}, {"replicas": math.inf}, {"burstiness": -1.0}])
def test_impossible_queues_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Queue(**wrong)
