"""Whatever is stored of an older document: what counts is a fleet whose floors fit."""

from hypothesis import given, settings
from hypothesis import strategies as st

from globalplanner.core.budget.limits import check_floors
from globalplanner.core.operators.effective import effective, left_out
from tests.unit.globalplanner.fleets import CHAT, fleet, pool
from weir.domain.fleet import NodeGroup
from weir.domain.ids import ClassName, PoolId
from weir.domain.overrides import ClassTargets, Overrides

FLEET = fleet(
    [
        pool("a", min_replicas=2, gpus_per_replica=2),
        pool("b", floor_replicas=2, max_implied=True),
        pool("c", min_replicas=0),
    ],
    gpus=8,
    by_gpu_class={"gpu": 7},
    node_groups=[NodeGroup(name="nodes", gpu_class="gpu", gpus=10, implied=True)],
)
whys = st.dictionaries(st.sampled_from([PoolId(name) for name in "abcx"]), st.just("w"))
stored = st.builds(
    Overrides,
    budget_gpus=st.none() | st.integers(1, 30),
    gpus_by_class=st.dictionaries(st.sampled_from(["gpu", "old"]), st.integers(0, 30)),
    targets=st.dictionaries(
        st.sampled_from([CHAT, ClassName("old")]), st.just(ClassTargets(weight=2.0))
    ),
    frozen=whys,
    drained=whys,
)


@settings(max_examples=100, deadline=None)
@given(stored, st.integers(0, 10**6))
def test_stored_changes_never_make_a_fleet_that_cannot_be(
    overrides: Overrides, unix_s: int
) -> None:
    found = effective(FLEET, overrides, float(unix_s))
    check_floors(found)
    assert [p.id for p in found.pools] == [p.id for p in FLEET.pools]
    for before, after in zip(FLEET.pools, found.pools, strict=True):
        assert after.min_replicas <= after.floor_replicas <= after.guarantee_replicas
        assert after.guarantee_replicas <= after.max_replicas
        assert after.max_replicas >= before.max_replicas
    if overrides.budget_gpus is not None and not any(
        "floors" in line for line in left_out(FLEET, overrides)
    ):
        assert found.budget.gpus == overrides.budget_gpus
