"""Ten minutes without any telemetry, under load."""

import pytest

from tests.simulation.fleet_world import constant, run
from weir.simulator.replica import Phase
from weir.simulator.world import World

BEGINS_S, ENDS_S, NORMAL_S = 300.0, 900.0, 960.0
RATE_RPS = 2.0
KINDS = {"traffic", "forward-pass"}


class Watch:
    """Ready replicas of all pools every second, and what pool planners think is offered."""

    def __init__(self) -> None:
        self.ready: dict[float, int] = {}
        self.offered_rps: dict[float, dict[str, float | None]] = {}

    def __call__(self, world: World) -> None:
        self._world = world
        world.events.at(BEGINS_S, lambda _: self._weather().update(KINDS))
        world.events.at(ENDS_S, lambda _: self._weather().difference_update(KINDS))
        world.events.at(1.0, self._look)

    def offered(self, at_s: float) -> float:
        """By all pools together; none of them may be without knowledge."""
        rates = list(self.offered_rps[at_s].values())
        assert None not in rates
        return sum(rate_rps or 0.0 for rate_rps in rates)

    def _weather(self) -> set[str]:
        assert self._world.roles is not None
        return self._world.roles.plane.network.weather.silent

    def _look(self, _: object = None) -> None:
        world, now_s = self._world, self._world.now_s
        assert world.roles is not None
        pools = world.cluster.pools.values()
        self.ready[now_s] = sum(
            replica.phase is Phase.READY for pool in pools for replica in pool.replicas.values()
        )
        self.offered_rps[now_s] = {
            role.spec.id: role.reporter.telemetry.observe(role.clock.now_s()).rate_rps
            for role in world.roles.pool_planners
            if role.reporter is not None
        }
        if not world.over:
            world.events.after(1.0, self._look)


@pytest.mark.parametrize("seed", range(1))
def test_an_outage_of_all_metrics_takes_no_replica_and_a_minute_later_all_is_known(
    seed: int,
) -> None:
    watch = Watch()
    result = run(seed, names=(), columns=constant(RATE_RPS, 1000.0), end_s=1000.0, watch=watch)
    assert result.world.invariants.violations == []
    before = watch.ready[BEGINS_S]
    assert before > 0
    during = [count for at_s, count in watch.ready.items() if BEGINS_S <= at_s <= ENDS_S]
    assert len(during) > 500 and min(during) >= before
    unknown = watch.offered_rps[600.0]
    assert set(unknown.values()) == {None}
    assert watch.offered(NORMAL_S) == pytest.approx(watch.offered(BEGINS_S - 1.0), rel=0.25)
