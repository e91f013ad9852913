"""The program that answers questions, against the yardstick that was written without it."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from globalplanner.core.arbiter.snapshot import Rules, Snapshot
from globalplanner.core.study.program import Best, Program
from tests.property.highs import best_value, value_of
from tests.unit.globalplanner.fleets import fleet, pool, request_class, snapshot, view
from weir.domain.fleet import NodeGroup, PoolSpec, Role
from weir.domain.ids import ClassName

RULES = Rules()
CLASSES = ("chat", "long")
few = settings(max_examples=25, deadline=None)


@st.composite
def moments(draw: st.DrawFn, *, guaranteed: bool = False) -> Snapshot:
    """Limits hold what is set aside."""
    specs: list[PoolSpec] = []
    for index in range(draw(st.integers(1, 5))):
        least = draw(st.integers(0, 1))
        floor = least + draw(st.integers(0, 1))
        specs.append(
            pool(
                f"p{index}",
                draw(st.sampled_from(list(Role))),
                model=draw(st.sampled_from(["m", "m", "n"])),
                gpus_per_replica=draw(st.sampled_from([1, 1, 2, 4])),
                min_replicas=least,
                floor_replicas=floor,
                guarantee_replicas=floor + (draw(st.integers(0, 2)) if guaranteed else 0),
                max_replicas=floor + draw(st.integers(2, 5)),
                gpu_class=draw(st.sampled_from(["H100", "L4"])),
                node_group=draw(st.sampled_from(["n1", "n2"])),
                power_w_per_gpu=draw(st.sampled_from([None, 300, 700])),
            )
        )
    aside = sum(spec.floor_replicas * spec.gpus_per_replica for spec in specs)
    watts = sum(p.floor_replicas * p.gpus_per_replica * (p.power_w_per_gpu or 0) for p in specs)
    whole = fleet(
        specs,
        gpus=aside + draw(st.integers(0, 8)),
        classes=[request_class(name, weight=draw(st.sampled_from([1.0, 3.0]))) for name in CLASSES],
        by_gpu_class={"H100": aside + draw(st.integers(0, 6))},
        node_groups=[NodeGroup(name="n1", gpu_class="H100", gpus=aside + draw(st.integers(0, 6)))],
        power_w=draw(st.none() | st.integers(0, 3000).map(lambda spare_w: watts + spare_w)),
    )
    views = [
        view(
            spec,
            draw(st.integers(spec.min_replicas, spec.max_replicas)),
            capacity_rps={
                ClassName(name): rate
                for name in CLASSES
                if (rate := draw(st.sampled_from([0.0, 2.0, 3.5, 5.0]))) > 0.0
            },
        )
        for spec in specs
    ]
    loads = {name: draw(st.sampled_from([0.0, 4.0, 11.0, 30.0])) for name in CLASSES}
    return snapshot(views, loads, whole=whole)


def _best(now: Snapshot, *, whole: bool, more: int = 0) -> Best:
    gpus = {limit.name: limit.most + more for limit in now.limits}
    best = Program(now, RULES).best(gpus, whole=whole)
    assert best is not None
    return best


def _near(value: float, other: float) -> bool:
    """Idle GPUs are said to cost a little, so replicas that add next to nothing may be missing."""
    return abs(value - other) <= 2e-3 * max(1.0, other)


@few
@given(moments())
def test_the_best_is_worth_what_the_yardstick_says(now: Snapshot) -> None:
    best = _best(now, whole=True)
    assert _near(best.value, best_value(now, RULES))
    whole = {id: int(count) for id, count in best.replicas.items()}
    assert _near(best.value, value_of(now, RULES, whole))
    assert best.exceeded == {}


@few
@given(moments(guaranteed=True))
def test_guarantees_cost_value_and_break_no_limit(now: Snapshot) -> None:
    best = _best(now, whole=True)
    assert best.value <= best_value(now, RULES) + 1e-6
    aside = {view.spec.id: view.spec.aside_replicas for view in now.pools}
    sizes = {view.spec.id: view.spec.gpus_per_replica for view in now.pools}
    gpus = {id: int(max(count, aside[id])) * sizes[id] for id, count in best.replicas.items()}
    assert all(limit.holds(gpus) for limit in now.limits)


@few
@given(moments(guaranteed=True))
def test_no_one_within_guarantees_could_be_served_more(now: Snapshot) -> None:
    guarantee = {view.spec.id: view.spec.guarantee_replicas for view in now.pools}

    def within(replicas: dict[str, float]) -> float:
        part = {id: int(min(count, guarantee[id])) for id, count in replicas.items()}
        return value_of(now, RULES, part)

    kept = within(dict(_best(now, whole=True).replicas))
    # Nothing beyond guarantees: then the best is the most that guarantees can serve.
    pools = tuple(
        replace(view, ceiling=max(view.spec.min_replicas, guarantee[view.spec.id]))
        for view in now.pools
    )
    most = within(dict(_best(replace(now, pools=pools), whole=True).replicas))
    assert kept >= most - 2e-3 * max(1.0, most)


@few
@given(moments())
def test_prices_bound_what_a_gpu_more_in_every_limit_adds(now: Snapshot) -> None:
    before, after = _best(now, whole=False), _best(now, whole=False, more=1)
    assert before.price_by_limit is not None
    most = sum(before.price_by_limit.values())
    assert before.value - 1e-6 <= after.value <= before.value + most * 1.01 + 1e-2
    assert _best(now, whole=True).value <= before.value + 1e-2
