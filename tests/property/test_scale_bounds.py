"""What fits between floor and ceiling as Dynamo sees it is accepted, and so is what is advised."""

import dataclasses
import re
from collections.abc import Mapping

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from globalplanner.core.dynamo.scale_bounds import impossible, takes_too_much
from tests.unit.globalplanner.fleets import fleet, pool
from weir.domain.dynamo import DynamoRules
from weir.domain.fleet import Fleet
from weir.domain.ids import PoolId

Replicas = dict[PoolId, int]

often = settings(suppress_health_check=[HealthCheck.filter_too_much])
"""Most situations are beside the point."""


@st.composite
def situations(draw: st.DrawFn) -> tuple[Fleet, Replicas, Replicas]:
    """A fleet, what its pools have, and what some of them ask for."""
    sizes = draw(st.lists(st.sampled_from([1, 1, 2, 4]), min_size=1, max_size=4))
    specs = [
        pool(f"p{i}", gpus_per_replica=size, min_replicas=0, max_replicas=8)
        for i, size in enumerate(sizes)
    ]
    has = {spec.id: draw(st.integers(0, 8)) for spec in specs}
    asking = draw(st.sets(st.sampled_from([spec.id for spec in specs]), min_size=1, max_size=2))
    asked = {id: draw(st.integers(0, 8)) for id in sorted(asking)}
    gpus = draw(st.integers(4, 40))
    least = draw(st.integers(1, gpus))
    whole = fleet(specs, gpus=gpus)
    return dataclasses.replace(whole, dynamo=DynamoRules(min_total_gpus=least)), has, asked


def _gpus(whole: Fleet, replicas: Mapping[PoolId, int]) -> int:
    return sum(spec.gpus_per_replica * replicas.get(spec.id, 0) for spec in whole.pools)


@often
@given(situations())
def test_what_ends_between_floor_and_ceiling_is_accepted(
    situation: tuple[Fleet, Replicas, Replicas],
) -> None:
    whole, has, asked = situation
    moves = {id: count - has[id] for id, count in asked.items() if count != has[id]}
    paired = min(moves.values(), default=0) < 0 < max(moves.values(), default=0)
    tolerance = max((whole.pool(id).gpus_per_replica for id in moves), default=0) * paired
    after = _gpus(whole, {**has, **asked})
    assert whole.dynamo.min_total_gpus is not None
    assume(whole.dynamo.min_total_gpus - tolerance <= after <= whole.budget.gpus)
    assert impossible(asked, has, whole) == ""
    assert takes_too_much(asked, has, {}, whole) == ""


@often
@given(situations())
def test_every_move_that_lowers_a_violation_is_accepted(
    situation: tuple[Fleet, Replicas, Replicas],
) -> None:
    whole, has, asked = situation
    assert whole.dynamo.min_total_gpus is not None
    before, after = _gpus(whole, has), _gpus(whole, {**has, **asked})
    floor, ceiling = whole.dynamo.min_total_gpus, whole.budget.gpus
    assume(before < after <= floor or ceiling <= after < before)
    assume(len({count > has[id] for id, count in asked.items() if count != has[id]}) == 1)
    assert impossible(asked, has, whole) == ""
    assert takes_too_much(asked, has, {}, whole) == ""


@often
@given(situations())
def test_what_is_said_to_be_possible_is(situation: tuple[Fleet, Replicas, Replicas]) -> None:
    whole, has, asked = situation
    why = takes_too_much(asked, has, {}, whole)
    found = re.search(r"(p\d) could go to (\d+)", why)
    assume(found is not None)
    assert found is not None
    id, could = PoolId(found[1]), int(found[2])
    assert could <= has[id]
    assert takes_too_much({id: could}, has, {}, whole) == ""
    assert takes_too_much({id: could - 1}, has, {}, whole) != ""
