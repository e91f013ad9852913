"""What holds for every fleet, demand and history."""

import dataclasses
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from globalplanner.core.arbiter.arbitrate import arbitrate
from globalplanner.core.arbiter.layout import Layout
from globalplanner.core.arbiter.snapshot import Decision, Memory, PoolView, Rules, Snapshot
from globalplanner.core.arbiter.space import Space
from globalplanner.core.budget.limits import limits_of
from tests.benchmarks.arbitrated import Drift
from tests.property.highs import best_value, value_of
from tests.unit.globalplanner.fleets import fleet, load, pool, request_class
from weir.domain.fleet import Fleet, NodeGroup, PoolSpec, Role
from weir.domain.ids import ClassName

RULES = Rules(scale_down_dwell_s=10.0)
CLASSES = ("chat", "long")
ROLES = {"one": (Role.AGG,), "pair": (Role.PREFILL, Role.DECODE), "all": tuple(Role)}
few = settings(max_examples=40, deadline=None)


@st.composite
def pools(draw: st.DrawFn, *, most_gpus: int = 3, kind: str = "all") -> list[PoolSpec]:
    specs = []
    for index in range(draw(st.integers(1, 4))):
        least = draw(st.integers(0, 2))
        floor = least + draw(st.integers(0, 1))
        guarantee = floor + draw(st.integers(0, 1))
        specs.append(
            pool(
                f"p{index}",
                draw(st.sampled_from(ROLES[kind])),
                model=draw(st.sampled_from(["m", "n"])) if kind == "all" else "m",
                gpus_per_replica=draw(st.integers(1, most_gpus)),
                min_replicas=least,
                floor_replicas=floor,
                guarantee_replicas=guarantee,
                max_replicas=guarantee + draw(st.integers(0, 4)),
                gpu_class=draw(st.sampled_from(["H100", "L4"])),
                node_group=draw(st.sampled_from(["n1", "n2"])),
                weight=draw(st.sampled_from([1.0, 2.0])),
                power_w_per_gpu=draw(st.sampled_from([None, 300, 700])),
            )
        )
    return specs


@st.composite
def fleets(draw: st.DrawFn, **limits: int) -> Fleet:
    specs = draw(pools(**limits))
    floors = sum(spec.floor_replicas * spec.gpus_per_replica for spec in specs)
    spare = draw(st.integers(0, 8))
    watts = sum(p.floor_replicas * p.gpus_per_replica * (p.power_w_per_gpu or 0) for p in specs)
    return fleet(
        specs,
        gpus=floors + spare,
        classes=[request_class(name, weight=draw(st.sampled_from([1.0, 3.0]))) for name in CLASSES],
        by_gpu_class={"H100": floors + draw(st.integers(0, 8))},
        node_groups=[NodeGroup(name="n1", gpu_class="H100", gpus=floors + draw(st.integers(0, 8)))],
        power_w=draw(st.none() | st.integers(0, 4000).map(lambda spare_w: watts + spare_w)),
    )


rates = st.sampled_from([0.0, 0.3, 1.0, 2.5, 6.0, 11.0, 40.0])
capacities = st.sampled_from([0.0, 0.4, 1.0, 2.5, 5.0, 9.0])


@st.composite
def snapshots(draw: st.DrawFn, **limits: int) -> Snapshot:
    whole = draw(fleets(**limits))
    views = []
    for spec in whole.pools:
        present = draw(st.integers(spec.min_replicas, spec.max_replicas))
        capacity = {ClassName(n): c for n in CLASSES if (c := draw(capacities)) > 0.0}
        views.append(
            PoolView(
                spec=spec,
                replicas=present,
                ready=draw(st.integers(0, present)),
                capacity_rps=capacity,
                backlog_replica_s=draw(st.sampled_from([None, 0.0, 0.0, 0.0, 7.0, 60.0])),
                load_rps={ClassName(n): draw(rates) for n in CLASSES},
                held=draw(st.sampled_from(["", "", "", "silent"])),
            )
        )
    return Snapshot(
        now_s=0.0,
        classes=whole.classes,
        pools=tuple(views),
        limits=limits_of(whole),
        loads={ClassName(n): load(draw(rates), n) for n in CLASSES},
    )


def after(snapshot: Snapshot, decision: Decision, now_s: float) -> Snapshot:
    """The same demand, with what was decided in place."""
    views = tuple(
        dataclasses.replace(
            v, replicas=decision.replicas[v.spec.id], ready=decision.replicas[v.spec.id]
        )
        for v in snapshot.pools
    )
    return dataclasses.replace(snapshot, pools=views, now_s=now_s)


def gpus(snapshot: Snapshot, decision: Decision) -> dict[str, int]:
    return {
        v.spec.id: decision.replicas[v.spec.id] * v.spec.gpus_per_replica for v in snapshot.pools
    }


@few
@given(snapshots())
def test_every_limit_holds_whenever_the_held_pools_leave_it_possible(snapshot: Snapshot) -> None:
    decision = arbitrate(snapshot, RULES, Memory())
    used = gpus(snapshot, decision)
    least = {
        v.spec.id: v.spec.gpus_per_replica
        * (max(v.replicas, v.spec.floor_replicas) if v.held else v.spec.floor_replicas)
        for v in snapshot.pools
    }
    for limit in snapshot.limits:
        if limit.holds(least):
            assert limit.holds(used), (limit, used)


@few
@given(snapshots())
def test_bounds_hold_and_held_pools_stay(snapshot: Snapshot) -> None:
    decision = arbitrate(snapshot, RULES, Memory())
    for v in snapshot.pools:
        decided = decision.replicas[v.spec.id]
        if v.held:
            assert decided == v.replicas
        else:
            assert v.spec.min_replicas <= decided <= v.spec.max_replicas


@few
@given(snapshots())
def test_what_is_set_aside_for_floors_is_never_given_to_others(snapshot: Snapshot) -> None:
    snapshot = dataclasses.replace(
        snapshot, pools=tuple(dataclasses.replace(v, held="") for v in snapshot.pools)
    )
    decision = arbitrate(snapshot, RULES, Memory())
    reserved = {
        v.spec.id: max(decision.replicas[v.spec.id], v.spec.floor_replicas)
        * v.spec.gpus_per_replica
        for v in snapshot.pools
    }
    assert all(limit.holds(reserved) for limit in snapshot.limits)


@few
@given(snapshots(), st.randoms(use_true_random=False))
def test_the_order_of_pools_and_classes_does_not_matter(snapshot: Snapshot, random) -> None:  # type: ignore[no-untyped-def]
    pools_, classes = list(snapshot.pools), list(snapshot.classes)
    random.shuffle(pools_)
    random.shuffle(classes)
    shuffled = dataclasses.replace(snapshot, pools=tuple(pools_), classes=tuple(classes))
    one = arbitrate(snapshot, RULES, Memory())
    other = arbitrate(shuffled, RULES, Memory())
    assert one.replicas == other.replicas
    assert one.reasons == other.reasons


@few
@given(snapshots())
def test_constant_demand_reaches_a_fixed_point_and_stays(snapshot: Snapshot) -> None:
    """Also with unequal GPUs per replica: no pool is grown again after it was shrunk."""
    memory, seen = Memory(), []
    for step in range(40):
        decision = arbitrate(snapshot, RULES, memory)
        memory = decision.memory
        seen.append(dict(decision.replicas))
        snapshot = after(snapshot, decision, now_s=11.0 * (step + 1))
    assert all(replicas == seen[25] for replicas in seen[25:]), seen


@pytest.mark.parametrize("seed", range(3))
def test_constant_demand_is_a_fixed_point_where_decisions_take_turns(seed: int) -> None:
    """In a fleet of more pools than one decision looks at, from an empty one."""
    snapshot, memory, seen = Drift(40, seed=seed).snapshot(), Memory(), []
    for step in range(80):
        decision = arbitrate(snapshot, RULES, memory)
        memory = decision.memory
        seen.append(dict(decision.replicas))
        snapshot = after(snapshot, decision, now_s=2.0 * (step + 1))
    assert all(replicas == seen[60] for replicas in seen[60:])


@few
@given(snapshots())
def test_unknown_load_lowers_nothing_that_the_limits_allow(snapshot: Snapshot) -> None:
    snapshot = dataclasses.replace(snapshot, loads=None)
    decision = arbitrate(snapshot, RULES, Memory())
    reserved = {
        v.spec.id: max(v.replicas, v.spec.floor_replicas) * v.spec.gpus_per_replica
        for v in snapshot.pools
    }
    if all(limit.holds(reserved) for limit in snapshot.limits):
        assert all(decision.replicas[v.spec.id] == v.replicas for v in snapshot.pools)


@few
@given(snapshots())
def test_shares_sum_to_one(snapshot: Snapshot) -> None:
    decision = arbitrate(snapshot, RULES, Memory())
    assert decision.shares is not None
    for stages in decision.shares.values():
        for shares in stages.values():
            assert abs(sum(shares.values()) - 1.0) < 1e-9
            assert all(0.0 < share <= 1.0 for share in shares.values())


def unheld_and_caught_up(snapshot: Snapshot) -> Snapshot:
    views = [
        dataclasses.replace(
            v, held="", backlog_replica_s=0.0, replicas=v.spec.min_replicas,
            spec=dataclasses.replace(
                v.spec, floor_replicas=v.spec.min_replicas, guarantee_replicas=v.spec.min_replicas
            ),
        )
        for v in snapshot.pools
    ]  # fmt: skip
    return dataclasses.replace(snapshot, pools=tuple(views))


@few
@given(snapshots(most_gpus=1, kind="one"))
def test_value_is_maximal_when_replicas_are_the_same_size(snapshot: Snapshot) -> None:
    snapshot = unheld_and_caught_up(snapshot)
    decided = arbitrate(snapshot, RULES, Memory()).replicas
    best = best_value(snapshot, RULES)
    assert value_of(snapshot, RULES, decided) >= 0.9999 * best - 1e-6


@few
@given(snapshots())
def test_value_is_close_to_the_best_there_is(snapshot: Snapshot) -> None:
    """Models, prefill, decode and aggregated pools, replicas of 1 to 3 GPUs."""
    snapshot = unheld_and_caught_up(snapshot)
    decided = arbitrate(snapshot, RULES, Memory()).replicas
    best = best_value(snapshot, RULES)
    assert value_of(snapshot, RULES, decided) >= 0.97 * best - 1e-6


@few
@given(snapshots())
def test_nothing_moves_by_choice_that_does_not_repay_itself(snapshot: Snapshot) -> None:
    """What pools give up, as far as it served somebody, is gained elsewhere and more."""
    views = [
        dataclasses.replace(v, held="", replicas=max(v.replicas, v.spec.guarantee_replicas))
        for v in snapshot.pools
    ]
    snapshot = dataclasses.replace(snapshot, pools=tuple(views))
    space = Space(Layout.of(snapshot, None), snapshot, RULES)
    now = space.allocation(space.now)
    limits = [  # as large as what is there, if that is more
        dataclasses.replace(limit, most=limit.most - min(0, free))
        for limit, free in zip(snapshot.limits, space.free(space.now), strict=True)
    ]
    snapshot = dataclasses.replace(snapshot, limits=tuple(limits))
    decided = arbitrate(snapshot, RULES, Memory()).replicas
    left = {id: min(n, decided[id]) for id, n in now.items()}
    before, kept = value_of(snapshot, RULES, now), value_of(snapshot, RULES, left)
    after = value_of(snapshot, RULES, decided)
    start_up_s = views[0].spec.start_up_s
    repaid = RULES.repay_s / (RULES.repay_s - start_up_s)
    assert after - kept >= repaid * (before - kept) - 1e-5 * (1.0 + before)


@few
@given(snapshots(most_gpus=1, kind="one"))
def test_a_larger_budget_never_serves_less(snapshot: Snapshot) -> None:
    snapshot = unheld_and_caught_up(snapshot)
    values = []
    for more in range(4):
        limits = tuple(
            dataclasses.replace(each, most=each.most + more)
            for each in snapshot.limits
            if not each.watts
        )
        decision = arbitrate(dataclasses.replace(snapshot, limits=limits), RULES, Memory())
        values.append(value_of(snapshot, RULES, decision.replicas))
    assert all(b >= a - 1e-6 - 0.01 * a for a, b in pairwise(values))


@few
@given(snapshots())
def test_a_guarantee_is_honoured_before_anybody_borrows(snapshot: Snapshot) -> None:
    """No pool has more than its guarantee while others miss theirs and demand is unserved."""
    snapshot = dataclasses.replace(
        snapshot,
        pools=tuple(dataclasses.replace(v, held="", backlog_replica_s=0.0) for v in snapshot.pools),
    )
    decision = arbitrate(snapshot, RULES, Memory())
    borrowed = [
        v.spec.id
        for v in snapshot.pools
        if decision.replicas[v.spec.id] > v.spec.guarantee_replicas
    ]
    by_guarantee = dataclasses.replace(
        snapshot,
        pools=tuple(
            dataclasses.replace(
                v,
                spec=dataclasses.replace(v.spec, max_replicas=v.spec.guarantee_replicas),
                replicas=v.spec.min_replicas,
            )
            for v in snapshot.pools
        ),
    )
    space = Space(Layout.of(snapshot, None), snapshot, RULES)
    guarantees = {
        v.spec.id: v.spec.guarantee_replicas * v.spec.gpus_per_replica for v in snapshot.pools
    }
    assume(all(limit.holds(guarantees) for limit in snapshot.limits))
    if borrowed and value_of(snapshot, RULES, decision.replicas) < space.full_value - 1e-6:
        bare = arbitrate(by_guarantee, RULES, Memory())
        within = {
            v.spec.id: min(decision.replicas[v.spec.id], v.spec.guarantee_replicas)
            for v in snapshot.pools
        }
        assert (
            value_of(snapshot, RULES, within)
            >= 0.9 * value_of(snapshot, RULES, bare.replicas) - 1e-6
        )
