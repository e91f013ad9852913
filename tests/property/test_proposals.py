"""Whatever is decided, approved and limited: nothing happens that nobody approved or forced."""

from hypothesis import given, settings
from hypothesis import strategies as st

from globalplanner.core.arbiter.snapshot import Decision, Memory, Snapshot
from globalplanner.core.budget.limits import Limit
from globalplanner.core.operators.proposals import Gate, Mode
from tests.unit.globalplanner.fleets import pool, snapshot, view
from weir.domain.ids import ModelName, PoolId

POOLS = [PoolId(name) for name in "abcd"]
SPECS = {
    id: pool(
        id,
        model=ModelName("m1" if id in "ab" else "m2"),
        min_replicas=0,
        max_replicas=8,
        gpus_per_replica=1 + number % 3,
    )
    for number, id in enumerate(POOLS)
}
counts = st.fixed_dictionaries({id: st.integers(0, 8) for id in POOLS})
steps = st.tuples(counts, st.integers(0, 60), st.integers(0, 4), st.booleans())


def seen(before: dict[PoolId, int], gpus: int, now_s: float) -> Snapshot:
    limits = (
        Limit(name="budget", most=gpus, pools=frozenset(POOLS)),
        Limit(name="part", most=max(0, gpus - 10), pools=frozenset(POOLS[:2])),
    )
    views = [view(SPECS[id], before[id]) for id in POOLS]
    return snapshot(views, {}, now_s=now_s, limits=limits)


def gpus_of(replicas: dict[PoolId, int]) -> dict[PoolId, int]:
    return {id: count * SPECS[id].gpus_per_replica for id, count in replicas.items()}


@settings(max_examples=150, deadline=None)
@given(counts, st.lists(steps, min_size=1, max_size=12))
def test_nothing_passes_that_is_not_approved_but_what_limits_force(
    before: dict[PoolId, int], rounds: list[tuple[dict[PoolId, int], int, int, bool]]
) -> None:
    gate = Gate(Mode.APPROVE)
    for number, (wanted, gpus, pick, approves) in enumerate(rounds):
        approved: dict[PoolId, int] = {}
        if gate.waiting and approves:
            proposal = gate.waiting[pick % len(gate.waiting)]
            gate.approve(proposal.id)
            approved = {change.pool_id: change.after for change in proposal.changes}
        moment = seen(before, gpus, now_s=100.0 * number)
        held = [limit for limit in moment.limits if limit.holds(gpus_of(before))]
        made = Decision(replicas=wanted, reasons={}, memory=Memory())
        after = dict(gate.through(before, made, moment))
        for id in POOLS:
            if after[id] > before[id]:
                assert id in approved and after[id] <= approved[id]
            if after[id] < before[id] and id not in approved:
                broken = [limit for limit in moment.limits if limit not in held]
                assert any(id in limit.pools for limit in broken)
                assert after[id] >= wanted[id]
        for limit in held:  # what held still holds, growth or not
            assert limit.holds(gpus_of(after))
        for limit in moment.limits:  # B2: no step upwards while a limit is exceeded
            if limit not in held:
                assert limit.used(gpus_of(after)) <= limit.used(gpus_of(before))
        pools = [id for proposal in gate.waiting for id in proposal.pools]
        assert len(pools) == len(set(pools))
        assert all(proposal.stands(after) for proposal in gate.waiting)
        before = after


@settings(max_examples=50, deadline=None)
@given(counts, counts, st.integers(0, 60))
def test_no_more_is_forced_than_lets_the_limits_hold(
    before: dict[PoolId, int], wanted: dict[PoolId, int], gpus: int
) -> None:
    moment = seen(before, gpus, now_s=0.0)
    made = Decision(replicas=wanted, reasons={}, memory=Memory())
    after = dict(Gate(Mode.APPROVE).through(before, made, moment))
    for id in POOLS:
        if after[id] < before[id]:
            one_more = gpus_of({**after, id: after[id] + 1})
            assert not all(limit.holds(one_more) for limit in moment.limits)
