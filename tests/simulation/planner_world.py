"""The example fleets under generated load, and what became of them, second by second.

Model error is on: each pool's engines are up to 20 % faster or slower than the document says.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weir.domain.ids import PoolId
from weir.engine.timing import IterationTiming
from weir.fleet import load
from weir.simulator.call import Call, End
from weir.simulator.cluster import PoolOfReplicas
from weir.simulator.inputs import Inputs
from weir.simulator.journal import Step
from weir.simulator.policies import make
from weir.simulator.role_errors import role_errors
from weir.simulator.roles.together import Roles
from weir.simulator.world import World

__all__ = [
    "BIN_S",
    "FLEETS",
    "START_UP_S",
    "TELEMETRY",
    "Load",
    "Played",
    "lose_global_planner",
    "other_engines",
    "play",
    "silence",
]

EXAMPLES = Path(__file__).parents[2] / "examples"
BIN_S = 5.0
START_UP_S = 72.0
"""The longest that a start takes in these fleets: a minute, give or take a fifth."""
TELEMETRY = ("traffic", "forward-pass")


@dataclass(frozen=True, kw_only=True)
class Load:
    """A fleet with a load that a test can afford: requests/s, and their lengths as in a recipe.

    `tenant_column`: of the trace that lengths are drawn from. Where classes differ by output, who
    asks is what tells them apart.
    """

    fleet: str
    rate_rps: float
    lengths: str
    tenant_column: str | None = None

    def times(self, factor: float) -> "Load":
        return replace(self, rate_rps=self.rate_rps * factor)

    def recipe(self, for_s: float, *, kind: str = "poisson", more: str = "") -> str:
        return f"{kind}:rate={self.rate_rps:g},for={for_s:g},{self.lengths}{more}"


FLEETS = {
    "disagg": Load(fleet="disagg", rate_rps=6.0, lengths="isl=700,isl_cv=1,osl=180,osl_cv=1"),
    "agg": Load(fleet="agg", rate_rps=8.0, lengths="isl=700,isl_cv=1,osl=180,osl_cv=1"),
    "classes": Load(
        fleet="classes",
        rate_rps=8.0,
        lengths=f"lengths={EXAMPLES / 'traces' / 'fleet_d3_25200-32400.csv.gz'}",
        tenant_column="class",
    ),
}


@dataclass(slots=True)
class Played:
    """A world that has run. Calls that an idle fleet could not have served in time do not count."""

    world: World
    _calls: list[tuple[float, int, bool]] = field(default_factory=list)
    _held: dict[PoolId, list[tuple[float, int, int]]] = field(default_factory=dict)
    _table: NDArray[np.float64] | None = None

    @property
    def roles(self) -> Roles:
        assert self.world.roles is not None
        return self.world.roles

    def attainment(self, begin_s: float, end_s: float) -> float:
        """Share of the calls that came then and met their targets, of the worst class."""
        _, index, met = self._came(begin_s, end_s)
        return min(float(met[index == i].mean()) for i in set(index.tolist()))

    def above_s(self, begin_s: float, end_s: float) -> float:
        """Seconds above SLO: of the bins of 5 s that begin then and are above it."""
        return BIN_S * len(self.bins_above(begin_s, end_s))

    def bins_above(self, begin_s: float, end_s: float) -> list[float]:
        """When bins above SLO begin: those in which of a class more calls have come that miss
        their targets than its percentile lets miss them, rounded up to a whole call."""
        at_s, index, met = self._came(begin_s, end_s)
        bins = ((at_s - begin_s) / BIN_S).astype(np.intp)
        above: set[int] = set()
        for i, each in enumerate(self.world.scenario.fleet.classes):
            mine = index == i
            count = np.bincount(bins[mine])
            missed = np.bincount(bins[mine & ~met], minlength=len(count))
            may = np.ceil(count * (1.0 - each.slo.percentile) - 1e-9)
            above.update(np.flatnonzero(missed > may).tolist())
        return [begin_s + BIN_S * each for each in sorted(above)]

    def replicas(self, at_s: float, pool_id: PoolId | None = None) -> int:
        """Ready or starting then, of one pool or of all."""
        return sum(self._at(id, at_s)[1] for id in self._ids(pool_id))

    def gpus(self, at_s: float) -> int:
        """Held then, by replicas that drain too."""
        return sum(self._at(id, at_s)[2] for id in self._held)

    def taken(self, begin_s: float, end_s: float) -> int:
        """By how much pools had fewer replicas at any time than when it began."""
        return sum(
            self.replicas(begin_s, id) - min(self._between(begin_s, end_s, id)) for id in self._held
        )

    def added(self, begin_s: float, end_s: float) -> int:
        """By how much pools had more replicas at any time than when it began."""
        return sum(
            max(self._between(begin_s, end_s, id)) - self.replicas(begin_s, id) for id in self._held
        )

    def gpu_hours(self, begin_s: float, end_s: float) -> float:
        total_s = 0.0
        for id, changes in self._held.items():
            inside = [each for each in changes if begin_s < each[0] < end_s]
            edges = [(begin_s, *self._at(id, begin_s)[1:]), *inside, (end_s, 0, 0)]
            total_s += sum(a[2] * (b[0] - a[0]) for a, b in pairwise(edges))
        return total_s / 3600.0

    def steps(self, begin_s: float, end_s: float) -> list[Step]:
        """Changes of what is wanted of a pool."""
        return [step for step in self.world.journal.steps if begin_s <= step.at_s < end_s]

    def _ids(self, pool_id: PoolId | None) -> Iterable[PoolId]:
        return self._held if pool_id is None else (pool_id,)

    def _at(self, pool_id: PoolId, at_s: float) -> tuple[float, int, int]:
        changes = self._held[pool_id]
        return changes[max(0, bisect_right(changes, at_s, key=lambda each: each[0]) - 1)]

    def _between(self, begin_s: float, end_s: float, pool_id: PoolId) -> list[int]:
        inside = [n for at_s, n, _ in self._held[pool_id] if begin_s < at_s <= end_s]
        return [self.replicas(begin_s, pool_id), *inside]

    def _came(
        self, begin_s: float, end_s: float
    ) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.bool_]]:
        if self._table is None:
            self._table = np.array(self._calls)
        some = self._table[(self._table[:, 0] >= begin_s) & (self._table[:, 0] < end_s)]
        return some[:, 0], some[:, 1].astype(np.intp), some[:, 2] > 0.0

    def _note(self, pool: PoolOfReplicas) -> None:
        self._held.setdefault(pool.spec.id, []).append((self.world.now_s, pool.staying, pool.gpus))

    def _ended(self, call: Call, end: End) -> None:
        scenario, now_s = self.world.scenario, self.world.now_s
        if not scenario.feasible[call.id]:
            return
        slo, met = scenario.fleet.classes[call.class_index].slo, False
        if end is End.COMPLETED and call.first_s is not None:
            itl_s = (now_s - call.first_s) / max(1, call.osl_tokens - 1)
            met = call.first_s - call.arrived_s <= slo.ttft_s and itl_s <= slo.itl_s
        self._calls.append((call.arrived_s, call.class_index, met))


def play(
    load_: Load,
    for_s: float,
    *,
    seed: int,
    kind: str = "poisson",
    more: str = "",
    sets: Sequence[str] = (),
    watch: Callable[[World], None] = lambda world: None,
) -> Played:
    """Let the fleet have its load for so long; `more` is added to the recipe."""
    loaded = load(EXAMPLES / "fleets" / f"{load_.fleet}.yaml", sets)
    recipe = load_.recipe(for_s, kind=kind, more=more)
    inputs = Inputs(
        loaded=loaded, trace=recipe, tenant_column=load_.tenant_column, from_s=0.0, to_s=for_s
    )
    world = World(inputs.scenario(seed), make("weir"))
    played = Played(world)
    for pool in world.cluster.pools.values():
        played._note(pool)
    world.cluster.on_change.append(played._note)
    world.on_end.append(played._ended)
    watch(world)
    with role_errors(world):
        world.run()
    return played


def silence(
    begin_s: float, for_s: float, kinds: Iterable[str] = TELEMETRY
) -> Callable[[World], None]:
    """Nothing of these kinds arrives anywhere for so long."""

    def watch(world: World) -> None:
        assert world.roles is not None
        silent = world.roles.plane.network.weather.silent
        world.events.at(begin_s, lambda _: silent.update(kinds))
        world.events.at(begin_s + for_s, lambda _: silent.difference_update(kinds))

    return watch


def other_engines(at_s: float, speed: float) -> Callable[[World], None]:
    """From one moment on all engines are so many times as fast as before."""

    def change(world: World) -> None:
        for pool in world.cluster.pools.values():
            pool.profile = replace(pool.profile, speed=pool.profile.speed * speed)
            for replica in pool.replicas.values():
                profile = replace(replica.profile, speed=replica.profile.speed * speed)
                replica.profile = replica.run.model.profile = profile
                replica.run.model._timing = IterationTiming(profile)

    return lambda world: world.events.at(at_s, change, world)


def lose_global_planner(begin_s: float, for_s: float) -> Callable[[World], None]:
    """It dies, and comes back without what it had in memory."""

    def watch(world: World) -> None:
        assert world.roles is not None
        (role,) = world.roles.global_planners
        world.events.at(begin_s, lambda _: role.process.crash())
        world.events.at(begin_s + for_s, lambda _: role.process.start())

    return watch
