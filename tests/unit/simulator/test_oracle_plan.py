"""Engines of 1,000 prompt tokens/s, or 10 sequences at 20 ms: 500 output tokens/s."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.unit.globalplanner.fleets import fleet, pool, request_class
from weir.domain.fleet import Fleet, PoolSpec, Role, Slo
from weir.domain.ids import ModelName, PoolId
from weir.domain.profile import EngineProfile, PolynomialTiming
from weir.simulator.oracle.offered import Offered
from weir.simulator.oracle.plan import OraclePlan, oracle_of, peak_need, quantile_need

ENGINE = EngineProfile(
    timing=PolynomialTiming(prefill_s=(0.0, 1e-3), decode_s=(0.010,), decode_per_sequence_s=1e-3),
    kv_tokens=100_000,
    max_sequences=10,
    max_batched_tokens=500,
)
PROMPT = Slo(ttft_s=0.3, itl_s=0.030)
"""Leaves a prompt of 200 tokens 0.1 s to wait."""


def _pool(name: str, role: Role, **changes: Any) -> PoolSpec:
    fields = {"profile": ENGINE, "min_replicas": 0, "max_replicas": 20, "start_up_s": 60.0}
    return pool(name, role, **(fields | changes))


def _pair(suffix: str = "", **changes: Any) -> list[PoolSpec]:
    return [
        _pool(f"p{suffix}", Role.PREFILL, **changes),
        _pool(f"d{suffix}", Role.DECODE, **changes),
    ]


def _fleet(pools: list[PoolSpec], classes: int = 1, **changes: Any) -> Fleet:
    items = [request_class(f"c{index}", slo=PROMPT) for index in range(classes)]
    return fleet(pools, classes=items, gpus=40, **changes)


def _steady(rate_rps: float, seconds: float, *, class_index: int = 0, isl: int = 200) -> Offered:
    """Requests of 200 and 20 tokens, evenly."""
    count = round(rate_rps * seconds)
    return Offered(
        arrival_s=(np.arange(count) + 0.5) / rate_rps,
        isl_tokens=np.full(count, isl),
        osl_tokens=np.full(count, 20),
        class_index=np.full(count, class_index, np.intp),
    )


def _joined(*parts: Offered) -> Offered:
    return Offered(
        arrival_s=np.concatenate([part.arrival_s for part in parts]),
        isl_tokens=np.concatenate([part.isl_tokens for part in parts]),
        osl_tokens=np.concatenate([part.osl_tokens for part in parts]),
        class_index=np.concatenate([part.class_index for part in parts]),
    )


def _plan(
    whole: Fleet,
    offered: Offered,
    seconds: float = 600.0,
    *,
    speeds: dict[str, float] | None = None,
    count_from_s: float = 0.0,
    margin: float = 1.0,
) -> OraclePlan:
    profiles = {
        spec.id: replace(spec.profile, speed=(speeds or {}).get(spec.id, 1.0))
        for spec in whole.pools
    }
    return oracle_of(
        whole,
        offered,
        profiles,
        start_s=0.0,
        count_from_s=count_from_s,
        end_s=seconds,
        margin=margin,
    )


def _nearly(gpu_hours: float, plan: OraclePlan) -> bool:
    """Whether the floor is below, but only by what little work may be lost or stop early."""
    return 0.965 * gpu_hours < plan.gpu_hours_floor <= gpu_hours + 1e-9


def test_a_steady_load_needs_its_work_over_a_replicas_rate() -> None:
    # 12 requests/s: 2,400 prompt tokens/s are 2.4 replicas, 240 output tokens/s 0.48.
    plan = _plan(_fleet(_pair()), _steady(12.0, 600.0))
    assert plan.need[PoolId("p")].mean() == pytest.approx(2.4, rel=1e-3)
    assert plan.need[PoolId("d")].mean() == pytest.approx(0.48, rel=2e-3)
    assert plan.pools[PoolId("p")].replicas.tolist() == [3] * 60
    assert plan.pools[PoolId("d")].replicas.tolist() == [1] * 60
    assert plan.first_size == peak_need(plan) == {"p": 3, "d": 1}
    assert _nearly(4.0 / 6.0, plan)


def test_need_is_at_true_speed() -> None:
    plan = _plan(_fleet(_pair()), _steady(12.0, 600.0), speeds={"p": 0.75})
    assert plan.need[PoolId("p")].mean() == pytest.approx(3.2, rel=1e-3)
    assert plan.first_size[PoolId("p")] == 4


def test_the_floor_sends_work_to_whichever_pool_is_fastest() -> None:
    # Each class alone needs 2.4 replicas, so 3; both together 4.8, on the fast pool 2.4.
    whole = _fleet([*_pair("0"), *_pair("1")], classes=2)
    offered = _joined(_steady(12.0, 600.0), _steady(12.0, 600.0, class_index=1))
    plan = _plan(whole, offered, speeds={"p1": 2.0})
    assert [plan.first_size[PoolId(name)] for name in ("p0", "p1")] == [3, 2]
    assert plan.gpu_hours_bound == pytest.approx((3 + 2 + 1 + 1) / 6.0, rel=0.02)
    assert _nearly((3 + 1) / 6.0, plan)


def test_the_floor_takes_no_more_of_the_fastest_pool_than_there_is() -> None:
    # 4.8 replicas' work; one of the fast pool does 2, so 3 of the slow one are needed.
    fast = _pool("p1", Role.PREFILL, max_replicas=1)
    whole = _fleet([*_pair("0"), fast], classes=1)
    plan = _plan(whole, _steady(24.0, 600.0), speeds={"p1": 2.0})
    assert _nearly((4 + 1) / 6.0, plan)


def test_the_floor_holds_every_pools_minimum() -> None:
    # One slow replica must be there and does half a replica's work; 1.9 are left.
    slow = _pool("p1", Role.PREFILL, min_replicas=1)
    other = pool("other", model=ModelName("n"), min_replicas=2, profile=ENGINE)
    plan = _plan(_fleet([*_pair("0"), slow]), _steady(12.0, 600.0), speeds={"p1": 0.5})
    assert _nearly((1 + 2 + 1) / 6.0, plan)
    more = _plan(_fleet([*_pair("0"), slow, other]), _steady(12.0, 600.0), speeds={"p1": 0.5})
    assert more.gpu_hours_floor == pytest.approx(plan.gpu_hours_floor + 2 / 6.0)


def test_the_floor_counts_in_the_gpus_that_all_replicas_consist_of() -> None:
    # Of 2 and 4 GPUs, as good per GPU: 2.4 replicas of 2 are 3 of them, or 6 GPUs.
    big = _pool("p1", Role.PREFILL, gpus_per_replica=4)
    whole = _fleet([_pool("p0", Role.PREFILL, gpus_per_replica=2), big, _pool("d", Role.DECODE)])
    plan = _plan(whole, _steady(12.0, 600.0), speeds={"p1": 2.0})
    assert _nearly((6 + 1) / 6.0, plan)


def test_the_floor_counts_only_from_where_hours_count() -> None:
    plan = _plan(_fleet(_pair()), _steady(12.0, 900.0), 900.0, count_from_s=300.0)
    assert _nearly(4.0 / 6.0, plan)
    assert len(plan.pools[PoolId("p")].replicas) == 90


def test_aggregated_pools_carry_both_stages() -> None:
    # Within 30 ms a sequence at a time: 11 ms for it and 200 / 20 ms for the next one's prompt.
    plan = _plan(_fleet([_pool("a", Role.AGG)]), _steady(12.0, 600.0))
    need = plan.need[PoolId("a")].mean()
    assert need == pytest.approx(2.4 + 12.0 * 19 * 0.011, rel=2e-3)
    assert plan.first_size == {"a": 5}
    assert _nearly(5.0 / 6.0, plan)


def test_quantiles_leave_rare_peaks_out() -> None:
    # 1 replica's work, but 3 in one bin of 60.
    burst = _steady(10.0, 10.0)
    plan = _plan(_fleet(_pair()), _joined(_steady(5.0, 600.0), burst))
    assert peak_need(plan)[PoolId("p")] == 3
    assert quantile_need(plan, 0.9)[PoolId("p")] == 1


def test_a_margin_changes_the_schedule_only() -> None:
    whole, offered = _fleet(_pair()), _steady(12.0, 600.0)
    plain, more = _plan(whole, offered), _plan(whole, offered, margin=1.5)
    assert more.pools[PoolId("p")].replicas.max() == 4
    assert more.first_size == plain.first_size
    assert more.gpu_hours_bound == plain.gpu_hours_bound
    assert more.gpu_hours_floor == plain.gpu_hours_floor
    assert more.at_margin(1.0).orders()[PoolId("p")].tolist() == [3] * 60


def test_orders_never_pass_the_budget() -> None:
    whole = fleet(_pair(), classes=[request_class(slo=PROMPT)], gpus=3)
    orders = _plan(whole, _steady(12.0, 600.0)).orders()
    assert (orders[PoolId("p")] + orders[PoolId("d")] == 3).all()


def test_nothing_offered_needs_the_minimum() -> None:
    plan = _plan(_fleet(_pair(min_replicas=1)), _steady(1.0, 0.0))
    assert plan.first_size == {"p": 1, "d": 1}
    assert plan.gpu_hours_bound == pytest.approx(2.0 / 6.0)
    assert _plan(_fleet(_pair()), _steady(1.0, 0.0), seconds=0.0).first_size == {"p": 0, "d": 0}


def test_times_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="in this order"):
        _plan(_fleet(_pair()), _steady(1.0, 1.0), count_from_s=700.0)
