"""Plans that cannot be used change nothing and are counted."""

import math

import pytest

from tests.unit.router.builders import members, pool, request, service
from weir import codec
from weir.api.v1 import planner_pb2
from weir.domain.fleet import Role, Stage
from weir.domain.ids import ClassName, PoolId
from weir.domain.planning import RoutingPlan

POOLS = (pool("a", Role.AGG), pool("b", Role.AGG))


def _plan(version: int, term: int = 1, **shares: float) -> RoutingPlan:
    by_pool = {PoolId(name): share for name, share in shares.items()}
    by_stage = {Stage.PREFILL: by_pool}
    return RoutingPlan(term=term, version=version, shares={ClassName("all"): by_stage})


def _pools(router: object, count: int = 4) -> set[str]:
    found = set()
    for _ in range(count):
        flight = router.open(request(10), 0.0)  # type: ignore[attr-defined]
        route = router.decide(flight.profile, 0.0)  # type: ignore[attr-defined]
        flight.sent(route, 0.0)
        found.add(route.decode.pool_id)
    return found


def test_without_a_plan_pools_share_by_capacity() -> None:
    assert _pools(service(POOLS, members("a", "w"), members("b", "v"))) == {"a", "b"}


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (_plan(6, nope=1.0), "unusable"),
        (_plan(6, a=0.0, b=0.0), "unusable"),
        (_plan(6, a=-1.0), "unusable"),
        (_plan(4, a=1.0), "old"),
        (_plan(9, term=0, a=1.0), "old"),
    ],
)
def test_the_last_good_plan_holds_and_the_bad_one_is_counted(
    plan: RoutingPlan, reason: str
) -> None:
    router = service(POOLS, members("a", "w"), members("b", "v"))
    assert router.apply_plan(_plan(5, b=1.0))
    assert not router.apply_plan(plan)
    assert _pools(router) == {"b"}
    assert {k: count for k, count in router.plans_refused.items() if count} == {reason: 1}
    assert router.apply_plan(_plan(6, a=1.0))  # What could not be used is no news.
    assert _pools(router) == {"a"}


def test_pools_that_a_router_does_not_know_yet_are_left_out() -> None:
    router = service(POOLS, members("a", "w"), members("b", "v"))
    assert router.apply_plan(_plan(1, b=0.5, new=0.5))
    assert _pools(router) == {"b"}


@pytest.mark.parametrize("share", [math.nan, math.inf, -0.5])
def test_a_share_that_is_no_share_is_not_understood(share: float) -> None:
    message = planner_pb2.RoutingPlan(term=1, version=2)
    message.classes["all"].prefill.share_by_pool["a"] = share
    with pytest.raises(ValueError, match="finite"):
        codec.decode_plan(message)
