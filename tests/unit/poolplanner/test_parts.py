"""What a pool planner makes of the Fleet document."""

from dataclasses import replace

import pytest

from poolplanner.parts import pace_of
from tests.unit.globalplanner.fleets import pool
from weir.domain.ids import PoolId
from weir.domain.planning import Grant


@pytest.mark.parametrize(("max_implied", "started"), [(False, 4), (True, 9)])
def test_a_maximum_that_is_not_given_does_not_stand_in_the_way_of_a_budget_raised_live(
    max_implied: bool, started: int
) -> None:
    spec = replace(pool("a", max_replicas=4), max_implied=max_implied)
    pace = pace_of(spec, settle_s=1.0, unsettled_s=10.0)
    grant = Grant(pool_id=PoolId("a"), term=1, epoch=1, replicas=9, valid_s=15.0)
    assert pace.offer(grant, sent_at_s=0.0) is None
    pace.see([], 0.0)
    assert pace.step([], 0.0).start == started
