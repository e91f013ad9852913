"""A share of the requests for a model tries another one."""

from dataclasses import replace

from router.core.canary import Canaries
from router.core.dispatch import Dispatch, DispatchSettings
from tests.unit.router.builders import fleet, members, pool
from weir.domain.fleet import Model, Role
from weir.domain.ids import ModelName, RouterId

M, V2, V3 = ModelName("m"), ModelName("v2"), ModelName("v3")


def _canaries(**shares: float) -> Canaries:
    split = tuple((ModelName(name), share) for name, share in shares.items())
    return Canaries([Model(name=M, aliases=("a",), canary=split), Model(name=V2), Model(name=V3)])


def test_a_canary_gets_its_share_evenly() -> None:
    canaries = _canaries(v2=0.25)
    assert canaries.names == {"m", "a"}
    turns = [canaries.turn("m", lambda _: True) for _ in range(8)]
    assert turns == ["m", "m", "m", "v2"] * 2


def test_shares_of_several_and_requests_by_alias_count_together() -> None:
    canaries = _canaries(v2=0.1, v3=0.3)
    turns = [canaries.turn("a" if n % 2 else "m", lambda _: True) for n in range(1000)]
    assert abs(turns.count("v2") - 100) <= 1
    assert abs(turns.count("v3") - 300) <= 1


def test_a_share_of_zero_gets_nothing_and_of_one_all() -> None:
    assert {_canaries(v2=0.0).turn("m", lambda _: True) for _ in range(100)} == {"m"}
    canaries = _canaries(v2=1.0)
    assert {canaries.turn("m", lambda _: True) for _ in range(100)} == {"v2"}


def test_a_canary_that_was_away_is_not_flooded_when_it_is_back() -> None:
    canaries = _canaries(v2=0.25)
    assert {canaries.turn("m", lambda _: False) for _ in range(100)} == {"m"}
    turns = [canaries.turn("m", lambda _: True) for _ in range(100)]
    assert 25 <= turns.count("v2") <= 26


def test_a_canary_without_a_ready_worker_is_passed_over() -> None:
    specs = (pool("main", Role.AGG), replace(pool("new", Role.AGG), model=V2))
    base = fleet(specs)
    models = (replace(base.models[0], canary=((V2, 1.0),)), base.models[1])
    dispatch = Dispatch(
        replace(base, models=models), RouterId("r"), DispatchSettings(), lambda _: None
    )
    assert dispatch.canaries == {"tiny", "tiny-alias"}
    assert dispatch.canary("tiny", 0.0) == "tiny"
    dispatch.apply_members(members("new", "w"), 0.0)
    assert dispatch.canary("tiny", 0.0) == "v2"
