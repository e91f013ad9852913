"""What of a fleet is planned by who runs alone."""

import pytest

from weir.alone.fleet import alone
from weir.domain.fleet import Fleet, PoolSpec, Role
from weir.domain.ids import PoolId
from weir.fleet.loading import loads

FLEET = """\
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: pond}
spec:
  models: [{name: m}, {name: other}]
  budget:
    gpus: 8
    windows: [{from: "00:00", to: "24:00", gpus: 4}]
  pools:
    - {name: first, role: prefill, model: m, gpus_per_replica: 2}
    - {name: second, role: decode, model: m, max_replicas: 3}
    - {name: both, role: agg, model: other}
"""


@pytest.fixture
def fleet() -> Fleet:
    return loads(FLEET).fleet


def _pools(fleet: Fleet, *names: str, budget_gpus: int | None = None) -> dict[str, PoolSpec]:
    planned = alone(fleet, {PoolId(name) for name in names}, budget_gpus)
    return {pool.id: pool for pool in planned.pools}


def test_a_pair_keeps_its_roles_and_a_single_stage_is_weighed_as_if_it_were_all(
    fleet: Fleet,
) -> None:
    pair = _pools(fleet, "first", "second")
    assert {pool.role for pool in pair.values()} == {Role.PREFILL, Role.DECODE}
    assert _pools(fleet, "second")["second"].role is Role.AGG
    # The pair of another model does not make up for the missing stage.
    assert _pools(fleet, "first", "both")["first"].role is Role.AGG


def test_the_budget_is_the_documents_with_its_windows_or_its_own_without(fleet: Fleet) -> None:
    assert alone(fleet, {PoolId("first")}, None).budget == fleet.budget
    own = alone(fleet, {PoolId("first")}, 20).budget
    assert (own.gpus, own.windows) == (20, ())


def test_what_nobody_has_limited_may_grow_to_the_budget(fleet: Fleet) -> None:
    pools = _pools(fleet, "first", "second", budget_gpus=20)
    assert pools["first"].max_replicas == 10
    assert pools["second"].max_replicas == 3


def test_models_of_other_pools_are_left_out(fleet: Fleet) -> None:
    planned = alone(fleet, {PoolId("first"), PoolId("second")}, None)
    assert [model.name for model in planned.models] == ["m"]
