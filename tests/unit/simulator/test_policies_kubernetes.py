import pytest

from tests.unit.simulator.seen import decoding, pool_seen, replica, spec
from weir.domain.fleet import Role
from weir.domain.ids import PoolId
from weir.simulator.policies.caps import Lengths
from weir.simulator.policies.hpa import HpaScaler
from weir.simulator.policies.keda import KedaScaler, target_calls
from weir.simulator.policies.kubernetes import Behaviour, by_average_value, by_utilization
from weir.simulator.policies.seen import PoolSeen

P = PoolId("p")


@pytest.mark.parametrize(
    ("utilizations", "unready", "expected"),
    [
        ([0.7, 0.7], 0, 2),  # at the target
        ([0.76, 0.76], 0, 2),  # 8.6 % above it: within the tolerance
        ([0.9, 0.9], 0, 3),  # 0.9 / 0.7 * 2 = 2.57
        ([0.2, 0.2, 0.2, 0.2], 0, 2),  # 0.2 / 0.7 * 4 = 1.14
        ([1.0, 1.0], 1, 3),  # as if a third one were idle: 0.667 / 0.7 is within the tolerance
        ([1.0, 1.0, 1.0, 1.0], 1, 6),  # 0.8 / 0.7 * 5 = 5.71
        ([0.35, 0.35], 1, 1),  # those on their way do not count downwards
        ([], 2, 2),  # nothing is known
    ],
)
def test_an_hpa_brings_the_mean_utilisation_to_the_target(
    utilizations: list[float], unready: int, expected: int
) -> None:
    current = len(utilizations) + unready
    assert by_utilization(utilizations, unready, current, 0.7) == expected


@pytest.mark.parametrize(
    ("total", "current", "expected"), [(21.0, 2, 2), (23.0, 2, 3), (17.0, 2, 2), (0.0, 2, 0)]
)
def test_a_shared_metric_is_spread_over_replicas(total: float, current: int, expected: int) -> None:
    assert by_average_value(total, current, 10.0) == expected


def test_a_pool_may_double_or_grow_by_four_in_a_period() -> None:
    behaviour = Behaviour(1, 0.0)
    assert behaviour.limited(30, 1, 15.0) == 5
    assert behaviour.limited(30, 5, 30.0) == 10
    assert behaviour.limited(30, 10, 45.0) == 20
    assert behaviour.limited(30, 20, 60.0) == 30


def test_the_highest_recommendation_of_five_minutes_counts_downwards() -> None:
    behaviour = Behaviour(8, 0.0)
    assert behaviour.limited(6, 8, 15.0) == 8  # it began with 8
    assert behaviour.limited(3, 8, 300.0) == 8
    assert behaviour.limited(3, 8, 315.0) == 6
    assert behaviour.limited(3, 6, 330.0) == 3


def test_a_share_of_a_pool_may_go_in_a_minute() -> None:
    behaviour = Behaviour(1, 0.0, down_share=0.1)
    for now_s in range(15, 301, 15):
        assert behaviour.limited(20, 20, float(now_s)) == 20
    assert behaviour.limited(5, 20, 615.0) == 18
    assert behaviour.limited(5, 18, 630.0) == 18
    assert behaviour.limited(5, 18, 675.0) == 16  # 16.2
    assert behaviour.limited(1, 5, 1000.0) == 4  # 4.5


def _hpa(scaler: HpaScaler, pool: PoolSeen, now_s: float) -> int:
    return scaler.desired({P: pool}, now_s)[P].replicas


def test_an_hpa_never_goes_below_one_replica() -> None:
    scaler = HpaScaler()
    idle = pool_seen(replica(), spec=spec(min_replicas=0))
    assert [_hpa(scaler, idle, now_s) for now_s in (0.0, 600.0)] == [1, 1]


def test_an_hpa_grows_at_once_and_shrinks_late() -> None:
    scaler = HpaScaler()
    assert _hpa(scaler, pool_seen(*[replica(utilization=0.95)] * 4), 15.0) == 6
    quiet = pool_seen(*[replica(utilization=0.35)] * 6)
    assert _hpa(scaler, quiet, 30.0) == 6
    assert _hpa(scaler, quiet, 330.0) == 3


def test_keda_aims_at_the_calls_of_70_percent_of_the_best_rate() -> None:
    # 40 calls: 800 tokens/s. 70 % of it, 560 tokens/s, takes n / (10 + n) = 0.56: 12.7 calls.
    lengths = Lengths(90.0, 20.0)
    assert target_calls(spec(), 40.0, lengths) == 13.0
    assert target_calls(spec(Role.PREFILL), 9e9, lengths) == 1.0


def _keda(scaler: KedaScaler, pool: PoolSeen, now_s: float) -> int:
    return scaler.desired({P: pool}, now_s)[P].replicas


def test_keda_scales_by_the_mean_of_a_minutes_calls() -> None:
    scaler = KedaScaler({P: 13.0})
    assert _keda(scaler, pool_seen(decoding(13), decoding(13)), 15.0) == 2
    # (26 + 78) / 2 = 52 calls, 13 for each
    assert _keda(scaler, pool_seen(decoding(30), decoding(30), queued=18), 30.0) == 4


def test_keda_goes_to_none_after_five_quiet_minutes_and_wakes_when_it_polls() -> None:
    scaler = KedaScaler({P: 13.0})
    sleepy = spec(min_replicas=0)
    idle, none = pool_seen(replica(), spec=sleepy), pool_seen(spec=sleepy)
    assert [_keda(scaler, idle, now_s) for now_s in (0.0, 15.0, 285.0, 300.0)] == [1, 1, 1, 1]
    assert _keda(scaler, idle, 315.0) == 0
    called = pool_seen(spec=sleepy, queued=3)
    assert _keda(scaler, called, 330.0) == 0  # polled 15 s ago
    assert _keda(scaler, called, 345.0) == 1
    assert _keda(scaler, none, 375.0) == 0


def test_keda_keeps_the_least_of_a_pool_that_has_one() -> None:
    scaler = KedaScaler({P: 13.0})
    idle = pool_seen(replica())
    assert [_keda(scaler, idle, now_s) for now_s in (0.0, 300.0, 615.0)] == [1, 1, 1]
