"""Pools that may have no replica: none while nobody asks, and back with the first request."""

from pathlib import Path

import pytest

from tests.unit.simulator.worlds import Rows, scenario
from weir.simulator.policies.port import Policy
from weir.simulator.run import Outcome, simulate
from weir.simulator.summarize import summarize
from weir.simulator.world import World

ZERO = (
    *(f"spec.pools.{i}.min_replicas=0" for i in range(2)),
    *(f"spec.pools.{i}.scale_to_zero_after_s=120" for i in range(2)),
    *(f"spec.pools.{i}.start_up_s=45" for i in range(2)),
)
BUSY_S = 60.0
BACK_S = BUSY_S + 3600.0
BUSY: Rows = [(0.5 * number, 800, 40) for number in range(int(2 * BUSY_S))]


class Watch:
    """Replicas of each pool whenever they change, from when on."""

    def __init__(self) -> None:
        self.held: list[tuple[float, dict[str, int]]] = []

    def __call__(self, world: World, policy: Policy) -> None:
        self._world = world
        world.events.at(0.5, self._look)

    def at(self, at_s: float) -> dict[str, int]:
        return [held for since_s, held in self.held if since_s <= at_s][-1]

    def _look(self, _: object = None) -> None:
        pools = self._world.cluster.pools
        now = {str(id): len(pool.replicas) for id, pool in pools.items()}
        if not self.held or self.held[-1][1] != now:
            self.held.append((self._world.now_s, now))
        if not self._world.over:
            self._world.events.after(0.5, self._look)


def run(
    folder: Path, back: Rows, watch: Watch, *sets: str, to_s: float, faults: tuple[str, ...] = ()
) -> Outcome:
    made = scenario(folder, [*BUSY, *back], *ZERO, *sets, to_s=to_s)
    return simulate(made, "weir", faults, watch=[watch])


@pytest.mark.parametrize(
    "back",
    [[(BACK_S, 800, 40)], [(BACK_S + 0.5 * number, 800, 40) for number in range(120)]],
    ids=["one request", "a burst"],
)
def test_after_an_idle_hour_all_requests_wait_for_the_first_replica_and_are_served(
    tmp_path: Path, back: Rows
) -> None:
    watch = Watch()
    outcome = run(tmp_path, back, watch, to_s=BACK_S + 120.0)
    summary = summarize(outcome, wall_s=0.0, cpu_s=0.0)
    assert outcome.world.invariants.violations == []
    assert (summary.completed, summary.failed, summary.shed) == (len(BUSY) + len(back), 0, 0)
    # Idle for two minutes, a drain, and then no GPU for the rest of the hour.
    idle = [held for at_s, held in watch.held if BUSY_S + 240.0 <= at_s < BACK_S]
    assert not idle and watch.at(BUSY_S + 240.0) == {"prefill": 0, "decode": 0}
    # Both begin to start as soon as the request is known: sample, decision, grant.
    assert min(watch.at(BACK_S + 6.0).values()) >= 1


@pytest.mark.parametrize("faults", [(), (f"crash-global-planner@{BACK_S + 60.0:g}+200",)])
def test_a_single_request_is_waited_for_with_however_long_the_first_replica_takes(
    tmp_path: Path, faults: tuple[str, ...]
) -> None:
    watch = Watch()
    slow = [f"spec.pools.{i}.start_up_s=400" for i in range(2)]
    patient = "spec.router.queue_timeout_s=900"
    back: Rows = [(BACK_S, 800, 40)]
    outcome = run(tmp_path, back, watch, *slow, patient, to_s=BACK_S + 1000.0, faults=faults)
    summary = summarize(outcome, wall_s=0.0, cpu_s=0.0)
    assert (summary.completed, summary.shed) == (len(BUSY) + 1, 0)


def test_while_requests_come_now_and_then_one_replica_stays(tmp_path: Path) -> None:
    watch = Watch()
    rare: Rows = [(BUSY_S + 90.0 * number, 800, 40) for number in range(1, 12)]
    outcome = run(tmp_path, rare, watch, to_s=BUSY_S + 1050.0)
    assert outcome.world.invariants.violations == []
    assert all(min(held.values()) >= 1 for at_s, held in watch.held if at_s > 10.0)


def test_what_replicas_can_do_is_known_as_before_when_they_come_back(tmp_path: Path) -> None:
    rates: dict[float, dict[str, float]] = {}

    def watch(world: World, policy: Policy) -> None:
        def look(_: object) -> None:
            assert world.roles is not None
            leader = world.roles.leader()
            assert leader is not None and leader.planner is not None
            moment = leader.planner.moment()
            assert moment is not None
            rates[world.now_s] = {
                str(view.spec.id): sum(view.capacity_rps.values()) for view in moment.pools
            }

        for at_s in (BUSY_S, BACK_S - 5.0):
            world.events.at(at_s, look)

    made = scenario(tmp_path, [*BUSY, (BACK_S, 800, 40)], *ZERO, to_s=BACK_S + 60.0)
    simulate(made, "weir", watch=[watch])
    busy, idle = rates[BUSY_S], rates[BACK_S - 5.0]
    assert busy.keys() == {"prefill", "decode"}
    assert all(idle[id] == pytest.approx(rate, rel=0.3) for id, rate in busy.items())
