"""What of the fleet's offered load is that of some of its pools."""

from poolplanner.core.portion import Portion, portion_of
from weir.domain.ids import ClassName, PoolId, RouterId
from weir.domain.telemetry import ClassTraffic, PoolTraffic, TrafficSample
from weir.fleet.loading import loads

FLEET = """\
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: pond}
spec:
  models: [{name: m}]
  budget: {gpus: 8}
  pools:
    - {name: p1, role: prefill, model: m}
    - {name: p2, role: prefill, model: m}
    - {name: d1, role: decode, model: m}
    - {name: d2, role: decode, model: m}
"""


def _ids(*names: str) -> frozenset[PoolId]:
    return frozenset(PoolId(name) for name in names)


def _sample(sequence: int, arrivals: int, **legs: int) -> TrafficSample:
    return TrafficSample(
        router_id=RouterId("r"),
        sequence=sequence,
        window_s=1.0,
        classes=(ClassTraffic(name=ClassName("c"), arrivals=arrivals, isl_tokens=1000 * arrivals),),
        pools=tuple(PoolTraffic(pool_id=PoolId(id), arrivals=n) for id, n in legs.items()),
    )


def _arrivals(portion: Portion, sample: TrafficSample, now_s: float = 0.0) -> int:
    return portion.of(sample, now_s).classes[0].arrivals


def test_the_stage_at_which_requests_come_first_says_which_pools_share_them() -> None:
    fleet = loads(FLEET).fleet
    for own, counted, peers in (
        (("p1", "d1"), {"p1"}, {"p1", "p2"}),
        (("d1",), {"d1"}, {"d1", "d2"}),
        (("p1", "p2"), {"p1", "p2"}, {"p1", "p2"}),
    ):
        portion = portion_of(fleet, _ids(*own))
        assert (set(portion.own), set(portion.peers)) == (counted, peers)


def test_a_class_counts_as_far_as_its_stages_legs_are_these_pools() -> None:
    portion = Portion(own=_ids("p1"), peers=_ids("p1", "p2"))
    # A third of the legs, so of 12 arrivals 4, the queued ones among them.
    part = portion.of(_sample(1, 12, p1=3, p2=6, d1=9), 0.0)
    assert (part.classes[0].arrivals, part.classes[0].isl_tokens) == (4, 4000)


def test_nothing_is_lost_by_rounding() -> None:
    portion = Portion(own=_ids("p1"), peers=_ids("p1", "p2"))
    counts = [_arrivals(portion, _sample(n, 1, p1=1, p2=1), float(n)) for n in range(10)]
    assert sum(counts) == 5 and max(counts) == 1


def test_without_legs_all_pools_of_the_stage_count_alike_and_old_legs_do_not_count() -> None:
    portion = Portion(own=_ids("p1"), peers=_ids("p1", "p2"))
    assert _arrivals(portion, _sample(1, 8)) == 4
    assert _arrivals(portion, _sample(2, 8, p1=8), 1.0) == 8
    assert _arrivals(portion, _sample(3, 8, p2=8), 62.0) == 0


def test_who_has_the_whole_stage_takes_samples_as_they_are() -> None:
    sample = _sample(1, 3, p1=1)
    assert Portion(own=_ids("p1"), peers=_ids("p1")).of(sample, 0.0) is sample
