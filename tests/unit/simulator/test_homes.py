import pytest

from tests.unit.globalplanner.fleets import fleet, pool, request_class
from weir.domain.errors import FleetError
from weir.domain.fleet import PoolSpec, Role
from weir.domain.ids import ModelName
from weir.simulator.homes import Homes, homes_of

MODEL = ModelName("m")


def _homes(pools: list[PoolSpec], classes: int) -> Homes:
    items = [request_class(f"c{index}") for index in range(classes)]
    return homes_of(fleet(pools, classes=items), MODEL)


def _pairs(prefill: int, decode: int) -> list[PoolSpec]:
    return [
        *(pool(f"p{index}", Role.PREFILL) for index in range(prefill)),
        *(pool(f"d{index}", Role.DECODE) for index in range(decode)),
    ]


def test_as_many_pools_as_classes_pair_up_in_document_order() -> None:
    homes = _homes(_pairs(3, 3), classes=3)
    assert homes.prefill == (("p0",), ("p1",), ("p2",))
    assert homes.decode == (("d0",), ("d1",), ("d2",))


def test_neighbouring_classes_share_a_pool_where_there_are_fewer() -> None:
    homes = _homes(_pairs(2, 1), classes=3)
    assert homes.prefill == (("p0",), ("p0",), ("p1",))
    assert homes.decode == (("d0",), ("d0",), ("d0",))


def test_a_class_has_several_pools_where_there_are_more() -> None:
    homes = _homes(_pairs(5, 2), classes=2)
    assert homes.prefill == (("p0", "p1", "p2"), ("p3", "p4"))
    assert homes.pools == {"p0", "p1", "p2", "p3", "p4", "d0", "d1"}


@pytest.mark.parametrize("pools", range(1, 9))
@pytest.mark.parametrize("classes", range(1, 6))
def test_every_class_has_a_home_and_every_pool_serves_somebody(pools: int, classes: int) -> None:
    homes = _homes([pool(f"a{index}") for index in range(pools)], classes)
    assert all(homes.prefill)
    assert len(homes.pools) == pools
    assert homes.decode == ((),) * classes


def test_pairs_go_before_aggregated_pools_if_they_are_complete() -> None:
    agg = pool("a")
    assert _homes([agg, *_pairs(1, 1)], classes=1).pools == {"p0", "d0"}
    assert _homes([agg, *_pairs(1, 0)], classes=1).pools == {"a"}


def test_pools_of_other_models_or_without_replicas_are_nobodys_home() -> None:
    other = pool("other", model=ModelName("n"))
    none = pool("none", min_replicas=0, max_replicas=0)
    assert _homes([other, none, pool("a")], classes=1).pools == {"a"}


def test_a_model_that_cannot_be_served_is_refused() -> None:
    with pytest.raises(FleetError, match="model m has only prefill pools that may run"):
        _homes(_pairs(2, 0), classes=1)


def test_homes_that_cannot_hand_over_to_each_other_are_refused() -> None:
    pools = [pool("p", Role.PREFILL, dialect="vllm"), pool("d", Role.DECODE, dialect="sglang")]
    with pytest.raises(FleetError, match="class c0: its prefill pool p speaks vllm"):
        _homes(pools, classes=1)
