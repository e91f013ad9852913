from tests.unit.globalplanner.fleets import fleet, pool
from weir.domain.ids import PoolId
from weir.simulator.oracle.fitting import fitted

A, B = PoolId("a"), PoolId("b")


def test_what_fits_is_given_within_minimum_and_maximum() -> None:
    whole = fleet([pool("a", min_replicas=2, max_replicas=3), pool("b")], gpus=8)
    assert fitted(whole, {A: 1, B: 9}) == {A: 2, B: 4}
    assert fitted(whole, {}) == {A: 2, B: 1}


def test_a_budget_that_binds_is_shared_in_proportion() -> None:
    whole = fleet([pool("a", max_replicas=9), pool("b", max_replicas=9)], gpus=6)
    assert fitted(whole, {A: 8, B: 4}) == {A: 4, B: 2}


def test_a_replica_that_does_not_fit_leaves_room_to_smaller_ones() -> None:
    big = pool("a", gpus_per_replica=4, min_replicas=1)
    whole = fleet([big, pool("b", min_replicas=0)], gpus=7)
    assert fitted(whole, {A: 2, B: 4}) == {A: 1, B: 3}


def test_minimums_are_kept_even_if_they_do_not_fit() -> None:
    whole = fleet([pool("a", min_replicas=3), pool("b", min_replicas=3)], gpus=4)
    assert fitted(whole, {A: 4, B: 4}) == {A: 3, B: 3}
