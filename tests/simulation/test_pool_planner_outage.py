"""Ten minutes in which routers' samples, engines' samples, or both do not arrive anywhere."""

from collections.abc import Sequence

import pytest

from tests.simulation.planner_world import FLEETS, START_UP_S, TELEMETRY, Played, play, silence
from weir.simulator.world import World

BEGINS_S, ENDS_S, OVER_S = 400.0, 1000.0, 1300.0
NORMAL_S = ENDS_S + 60.0
UNHEARD_S = BEGINS_S + 15.0
"""What was heard last is no news any more."""
CHANGES_S = 700.0
ROUTERS, ENGINES = (["traffic"], ["forward-pass"])


def outage(
    fleet: str, kinds: Sequence[str], seed: int, *, change: float = 1.0
) -> tuple[Played, dict[float, list[bool]]]:
    """Also which pool planners know what is offered, in the middle of it and a minute after."""
    knows: dict[float, list[bool]] = {}

    def watch(world: World) -> None:
        silence(BEGINS_S, ENDS_S - BEGINS_S, kinds)(world)
        for at_s in (CHANGES_S, NORMAL_S):
            world.events.at(at_s, look, world)

    def look(world: World) -> None:
        assert world.roles is not None
        knows[world.now_s] = [
            role.reporter.telemetry.observe(role.clock.now_s()).rate_rps is not None
            for role in world.roles.pool_planners
            if role.reporter is not None
        ]

    more = f",burst={change:g}@{CHANGES_S:g}+{OVER_S:g}" if change != 1.0 else ""
    played = play(FLEETS[fleet], OVER_S, seed=seed, more=more, watch=watch)
    assert played.world.invariants.violations == []
    return played, knows


@pytest.mark.parametrize("kinds", [TELEMETRY, ROUTERS, ENGINES], ids=["all", "routers", "engines"])
@pytest.mark.parametrize(("fleet", "seed"), [("disagg", 0), ("agg", 1)])
def test_it_takes_no_replica_and_a_minute_later_all_is_as_before(
    fleet: str, kinds: Sequence[str], seed: int
) -> None:
    played, knows = outage(fleet, kinds, seed)
    assert played.taken(UNHEARD_S, ENDS_S) == 0
    assert any(knows[CHANGES_S]) is ("traffic" not in kinds)
    assert all(knows[NORMAL_S])
    assert played.attainment(BEGINS_S, ENDS_S) >= 0.99
    assert played.attainment(NORMAL_S, OVER_S) >= 0.99


@pytest.mark.parametrize("change", [0.3, 2.0])
def test_of_six_pools_that_share_classes_none_changes_before_all_is_known(change: float) -> None:
    played, knows = outage("classes", TELEMETRY, 0, change=change)
    assert played.taken(UNHEARD_S, ENDS_S) == 0
    assert played.steps(UNHEARD_S, ENDS_S) == []
    assert not any(knows[CHANGES_S])
    assert all(knows[NORMAL_S])


@pytest.mark.parametrize(("fleet", "seed"), [("disagg", 1), ("agg", 0)])
def test_load_that_falls_meanwhile_takes_no_replica_before_it_is_known(
    fleet: str, seed: int
) -> None:
    played, _ = outage(fleet, TELEMETRY, seed, change=0.3)
    assert played.taken(UNHEARD_S, ENDS_S) == 0
    assert played.steps(UNHEARD_S, ENDS_S) == []
    assert played.replicas(OVER_S) < played.replicas(ENDS_S)


@pytest.mark.parametrize("kinds", [TELEMETRY, ROUTERS], ids=["all", "routers"])
@pytest.mark.parametrize(("fleet", "seed"), [("disagg", 0), ("agg", 1)])
def test_load_that_rises_meanwhile_is_met_a_start_up_time_after_it_is_known(
    fleet: str, kinds: Sequence[str], seed: int
) -> None:
    played, _ = outage(fleet, kinds, seed, change=3.0)
    assert played.taken(UNHEARD_S, ENDS_S) == 0
    assert played.attainment(CHANGES_S, ENDS_S) < 0.9
    assert played.attainment(NORMAL_S + START_UP_S, OVER_S) >= 0.99


@pytest.mark.parametrize(("fleet", "seed"), [("disagg", 1), ("agg", 0)])
def test_pools_go_on_being_sized_by_the_routers_alone(fleet: str, seed: int) -> None:
    played, _ = outage(fleet, ENGINES, seed, change=2.0)
    assert played.attainment(CHANGES_S + 10.0 + START_UP_S + 30.0, ENDS_S) >= 0.99
