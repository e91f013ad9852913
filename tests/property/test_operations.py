"""Whatever operators ask for, and whether or not it can be stored: all of it counts, or nothing."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import globalplanner.operations
from globalplanner.core.budget.limits import check_floors
from globalplanner.core.operators.effective import effective
from globalplanner.operations import Operations
from tests.unit.globalplanner.fleets import CHAT, fleet, pool, request_class
from tests.unit.globalplanner.live import Live
from weir.domain.errors import PlannerError, UnavailableError
from weir.domain.fleet import NodeGroup, Slo
from weir.domain.ids import ClassName, PoolId
from weir.domain.overrides import ClassTargets

POOLS = st.sampled_from([PoolId("a"), PoolId("b"), PoolId("c"), PoolId("nobody")])
GPUS = st.none() | st.integers(-1, 12)
FLEET = fleet(
    [pool("a", min_replicas=2), pool("b", floor_replicas=2), pool("c", min_replicas=0)],
    gpus=8,
    node_groups=[NodeGroup(name="nodes", gpu_class="gpu", gpus=10)],
    classes=[request_class(slo=Slo(ttft_s=2.0, itl_s=0.1))],
)

budgets = st.tuples(
    st.just("set_budget"),
    st.tuples(GPUS, st.dictionaries(st.just("gpu"), st.integers(-1, 12), max_size=1)),
    st.just({}),
)
targets = st.builds(
    ClassTargets,
    ttft_s=st.sampled_from([None, 1.0, 0.001]),
    weight=st.sampled_from([None, 2.0, -1.0]),
)
slos = st.tuples(
    st.just("set_slo"),
    st.tuples(st.sampled_from([CHAT, ClassName("nobody")]), targets),
    st.just({}),
)
freezes = st.tuples(
    st.just("freeze"),
    st.tuples(st.none() | POOLS),
    st.fixed_dictionaries({"thaw": st.booleans(), "why": st.just("w")}),
)
drains = st.tuples(
    st.just("drain"),
    st.tuples(POOLS),
    st.fixed_dictionaries({"undo": st.booleans(), "why": st.just("w")}),
)


async def _ask(operations: Operations, ask: tuple[str, tuple[Any, ...], dict[str, Any]]) -> bool:
    name, arguments, named = ask
    try:
        effect = await getattr(operations, name)(*arguments, **named, dry_run=False)
    except (ValueError, PlannerError, UnavailableError):
        return False
    return bool(effect.applied)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(budgets | slos | freezes | drains, st.booleans()), max_size=8))
def test_a_change_counts_and_is_stored_or_nothing_has_changed(rounds: list[Any]) -> None:
    async def operate() -> None:
        live = Live(FLEET)
        for ask, stores in rounds:
            live.stores = stores
            before, fleet_before = live.overrides, live.planner.fleet
            stored_before = live.planner._written
            applied = await _ask(live.operations, ask)
            if not applied:
                assert (live.overrides, live.planner.fleet) == (before, fleet_before)
            else:
                written = live.planner._written
                assert written is not None and written.overrides == live.overrides
                assert stores or written is stored_before  # nothing was to be stored
            assert live.planner.fleet == effective(FLEET, live.overrides, live.clock.unix_s())
            check_floors(live.planner.fleet)
            budget = live.overrides.budget_gpus
            assert budget is None or live.planner.fleet.budget.gpus == budget
            live.run(2, rps=20)

    patience_s, globalplanner.operations._STORED_S = globalplanner.operations._STORED_S, 0.0
    try:
        asyncio.run(operate())
    finally:
        globalplanner.operations._STORED_S = patience_s
