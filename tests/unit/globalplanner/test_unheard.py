"""What a new leader assumes of pools that it has not heard of yet."""

from globalplanner.core.budget.limits import limits_of
from globalplanner.core.unheard import with_unheard
from tests.unit.globalplanner.fleets import fleet, pool, view


def assumed(heard: dict[str, int], *, gpus: int) -> dict[str, int]:
    """Pools a to d take 1, 2, 3 and 1 GPUs per replica; only c may have none."""
    specs = [
        pool("a", max_replicas=6),
        pool("b", gpus_per_replica=2),
        pool("c", gpus_per_replica=3, min_replicas=0),
        pool("d"),
    ]
    limits = limits_of(fleet(specs, gpus=gpus))
    views = [view(spec, heard[spec.id]) for spec in specs if spec.id in heard]
    unheard = [spec for spec in specs if spec.id not in heard]
    return {v.spec.id: v.replicas for v in with_unheard(views, unheard, limits)}


def test_an_unheard_pool_may_run_its_maximum_as_far_as_there_is_room() -> None:
    assert assumed({"a": 6, "b": 1, "d": 1}, gpus=30) == {"a": 6, "b": 1, "c": 4, "d": 1}
    assert assumed({"a": 6, "b": 1, "d": 1}, gpus=16) == {"a": 6, "b": 1, "c": 2, "d": 1}


def test_every_minimum_is_set_aside_before_any_pool_takes_the_room() -> None:
    # b and c would take all 12 - 6 GPUs, and nothing would be left for the minimum of d: then
    # a, which has reported, would have to give something up.
    assert assumed({"a": 6}, gpus=12) == {"a": 6, "b": 2, "c": 0, "d": 2}


def test_nobody_has_to_give_up_anything_for_a_pool_that_does_not_fit() -> None:
    assert assumed({"a": 6, "b": 2, "d": 2}, gpus=12) == {"a": 6, "b": 2, "c": 0, "d": 2}
