"""What can be served at most. Engines of 1,000 prompt tokens/s, or 10 sequences at 20 ms.

A request of 500 prompt and 250 output tokens takes half a second of both: 2/s by a prefill and a
decode replica.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.unit.globalplanner.fleets import fleet, pool, request_class
from weir.domain.fleet import Fleet, NodeGroup, PoolSpec, Role, Slo, TokenRange
from weir.domain.profile import EngineProfile, PolynomialTiming
from weir.simulator.oracle.curves import Bins
from weir.simulator.oracle.goodput import goodput_bound_rps
from weir.simulator.oracle.offered import Offered

ENGINE = EngineProfile(
    timing=PolynomialTiming(prefill_s=(0.0, 1e-3), decode_s=(0.010,), decode_per_sequence_s=1e-3),
    kv_tokens=100_000,
    max_sequences=10,
    max_batched_tokens=500,
)
SLO = Slo(ttft_s=2.0, itl_s=0.030)
CHAT = request_class("chat", slo=SLO, weight=4.0, isl_tokens=TokenRange(high=1000))
BULK = request_class("bulk", slo=SLO)


def _pool(name: str, role: Role, **changes: Any) -> PoolSpec:
    fields = {"profile": ENGINE, "min_replicas": 0, "max_replicas": 99, "gpu_class": "fast"}
    return pool(name, role, **(fields | changes))


PREFILL, DECODE = _pool("p", Role.PREFILL), _pool("d", Role.DECODE)


def _bound(
    made: Fleet, *requests: tuple[int, int, int], times: int = 10, count: int = 1
) -> Sequence[float]:
    """Of `times` of each request (class, ISL, OSL) in each second, at the profiles' speeds."""
    rows = np.array([request for request in requests for _ in range(times)])
    offered = Offered(
        arrival_s=np.full(len(rows), 0.5),
        class_index=rows[:, 0].astype(np.intp),
        isl_tokens=rows[:, 1],
        osl_tokens=rows[:, 2],
    )
    profiles = {spec.id: spec.profile for spec in made.pools}
    bins = Bins(start_s=0.0, bin_s=1.0, count=count)
    return [float(rps) for rps in goodput_bound_rps(made, profiles, offered, bins)]


def test_gpus_are_divided_so_that_both_stages_follow_each_other() -> None:
    made = fleet([PREFILL, DECODE], gpus=6, classes=[BULK])
    assert _bound(made, (0, 500, 250)) == pytest.approx([6.0])
    # Twice the output: a third of the GPUs prefill.
    assert _bound(made, (0, 500, 500)) == pytest.approx([4.0])


def test_no_more_is_served_than_is_offered_and_each_bin_is_for_itself() -> None:
    made = fleet([PREFILL, DECODE], gpus=99, classes=[BULK])
    assert _bound(made, (0, 500, 250), count=2) == pytest.approx([10.0, 0.0])


def test_the_class_worth_more_for_its_work_comes_first() -> None:
    # Bulk takes twice the prefill: with 8 GPUs all 4 chats, and of 2 GPUs what is left: 2/1.5.
    made = fleet([PREFILL, DECODE], gpus=6, classes=[CHAT, BULK])
    bound = _bound(made, (0, 500, 250), (1, 1000, 250), times=4)
    assert bound == pytest.approx([4 * 4.0 + 2.0 / 1.5])


def test_all_limits_hold() -> None:
    slow = _pool("s", Role.PREFILL, gpu_class="slow", node_group="far")
    pools = [PREFILL, DECODE, slow]
    groups = [NodeGroup(name="far", gpu_class="slow", gpus=1)]
    assert _bound(fleet(pools, gpus=9, classes=[BULK]), (0, 500, 250)) == pytest.approx([9.0])
    by_class = fleet(pools, gpus=9, classes=[BULK], by_gpu_class={"fast": 4})
    assert _bound(by_class, (0, 500, 250)) == pytest.approx([8.0])
    by_group = fleet(pools, gpus=9, classes=[BULK], by_gpu_class={"fast": 4}, node_groups=groups)
    assert _bound(by_group, (0, 500, 250)) == pytest.approx([5.0])
    few = fleet([PREFILL, _pool("d", Role.DECODE, max_replicas=1)], classes=[BULK])
    assert _bound(few, (0, 500, 250)) == pytest.approx([2.0])
    # A minimum holds GPUs also where they do nothing.
    idle = fleet([PREFILL, DECODE, _pool("i", Role.DECODE, min_replicas=2, dialect="x")], gpus=6)
    assert _bound(idle, (0, 500, 250)) == pytest.approx([4.0])


def test_stages_follow_each_other_within_a_dialect() -> None:
    apart = fleet([PREFILL, _pool("d", Role.DECODE, dialect="x")], classes=[BULK])
    assert _bound(apart, (0, 500, 250)) == pytest.approx([0.0])


def test_an_aggregated_replica_does_both() -> None:
    made = fleet([_pool("a", Role.AGG)], gpus=3, classes=[BULK])
    assert 0.0 < _bound(made, (0, 500, 250))[0] <= 3.0 + 1e-9


def test_minimums_that_do_not_fit_are_refused() -> None:
    made = fleet([_pool("p", Role.PREFILL, min_replicas=9), DECODE], gpus=8, classes=[BULK])
    with pytest.raises(ValueError, match="no allocation fits"):
        _bound(made, (0, 500, 250))
