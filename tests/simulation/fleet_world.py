"""A small whole fleet that is simulated under faults: one seed, one run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from weir.domain.overrides import Overrides
from weir.fleet import LoadedFleet, load
from weir.simulator import faults
from weir.simulator.journal import Journal
from weir.simulator.network import Weather
from weir.simulator.policies import make
from weir.simulator.policies.port import Policy
from weir.simulator.policies.weir import Weir
from weir.simulator.replica import Phase
from weir.simulator.role_errors import role_errors
from weir.simulator.roles.together import Roles
from weir.simulator.scenario import Scenario
from weir.simulator.world import World
from weir.workload.columns import TraceColumns

FLEET = Path(__file__).with_name("faulty.yaml")
END_S = 270.0
ALL = ("all",)

_RATES_RPS = (0.4, 1.2, 3.5)
_CHAT_SHARES = (0.2, 0.7, 0.95)
_LENGTHS = ((800, 120), (1200, 60), (3000, 150), (600, 200))
_SETTLED_S = 25.0


@dataclass(slots=True)
class Run:
    """A world that has run, and what its journal has told."""

    world: World
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def roles(self) -> Roles:
        assert self.world.roles is not None
        return self.world.roles

    def happened(self, fault: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event.get("fault") == fault]


def loaded_fleet(*sets: str) -> LoadedFleet:
    return load(FLEET, sets)


def run(
    seed: int,
    *,
    names: Sequence[str] = ALL,
    policy: str = "weir",
    loaded: LoadedFleet | None = None,
    columns: TraceColumns | None = None,
    end_s: float = END_S,
    watch: Callable[[World], None] = lambda world: None,
) -> Run:
    loaded = loaded or loaded_fleet()
    columns = columns or restless(seed, end_s)
    scenario = Scenario.of(loaded, columns, seed=seed, start_s=0.0, end_s=end_s)
    events: list[dict[str, Any]] = []
    world = World(scenario, _policy(policy), Journal(events.append))
    faults.install(world, names)
    watch(world)
    with role_errors(world):
        world.run()
    return Run(world, events)


def restless(seed: int, end_s: float) -> TraceColumns:
    """A few hundred requests; how many there are and what they are like changes again and again."""
    rng = np.random.default_rng(seed)
    times, chat = [], []
    at_s = 0.0
    while at_s < end_s:
        length_s = min(rng.uniform(15.0, 40.0), end_s - at_s)
        count = rng.poisson(rng.choice(_RATES_RPS) * length_s)
        times.append(at_s + np.sort(rng.uniform(0.0, length_s, count)))
        chat.append(rng.random(count) < rng.choice(_CHAT_SHARES))
        at_s += length_s
    is_chat = np.concatenate(chat)
    count = len(is_chat)
    isl = np.where(is_chat, rng.integers(100, 1400, count), rng.integers(1500, 6000, count))
    return TraceColumns.plain(np.concatenate(times), isl, rng.integers(20, 250, count))


def constant(rate_rps: float, end_s: float) -> TraceColumns:
    """The same few lengths over and over, evenly spaced."""
    count = int(rate_rps * end_s)
    isl, osl = np.array([_LENGTHS[number % len(_LENGTHS)] for number in range(count)]).T
    return TraceColumns.plain((np.arange(count) + 0.5) / rate_rps, isl, osl)


def unrecovered(run: Run) -> list[str]:
    """What is not as it should be although faults have been over for long."""
    leaders = [role for role in run.roles.global_planners if role.planner and role.planner.term]
    if len(leaders) != 1:
        return [f"{len(leaders)} GlobalPlanners lead"]
    return [*_unmended(run), *_unsettled(run), *_misinformed(run)]


def _unmended(run: Run) -> list[str]:
    """Faults that go on."""
    roles, calm = run.roles, Weather()
    weather = roles.plane.network.weather
    calm.slow_s = weather.slow_s
    planners = [role.process for role in roles.pool_planners]
    alive = [*planners, *(role.process for role in roles.routers), roles.plane.store.process]
    return [
        *([] if weather == calm else [f"the network: {weather}"]),
        *(f"{process.name} is dead" for process in alive if not process.alive),
        *([] if run.world.fleet == run.world.scenario.fleet else ["the document is still changed"]),
        *([] if run.roles.operator.wanted == Overrides() else ["something is still set live"]),
        *([] if not run.world.cluster.foreign_gpus else ["others still hold GPUs"]),
    ]


def _unsettled(run: Run) -> list[str]:
    """Pools that do not act on the leader's grants, or have others than these call for."""
    leader = run.roles.leader()
    assert leader is not None
    assert leader.planner is not None
    assert leader.planner.ledger is not None
    wrong = []
    for id, account in leader.planner.ledger.accounts.items():
        pace, pool = run.roles.pool_planner(id).pace, run.world.cluster.pools[id]
        if pace is None or pace.grant is None or pace.grant.term != leader.planner.term:
            wrong.append(f"{id} acts on {pace and pace.grant} of term {leader.planner.term}")
            continue
        if not account.known:
            wrong.append(f"{id} is not settled")
        leaving = sum(
            r.phase is Phase.TERMINATING or r.id in pace.draining for r in pool.replicas.values()
        )
        if len(pool.replicas) - leaving != account.granted and not _changed_lately(run):
            wrong.append(f"{id} has {len(pool.replicas)} replicas of {account.granted} granted")
    return wrong


def _misinformed(run: Run) -> list[str]:
    """Routers that know another plan than the leader's, or others than the pool's replicas."""
    leader, wrong = run.roles.leader(), []
    plan = leader.planner.plan if leader is not None and leader.planner is not None else None
    for role in run.roles.routers:
        known = role.dispatch.pools.plan
        if plan is not None and (known is None or known.term != plan.term):
            wrong.append(f"{role.process.name} goes by the plan of term {known and known.term}")
        for id, pool in run.world.cluster.pools.items():
            usable = {
                worker.endpoint.id
                for worker in role.dispatch.pools[id].workers.values()
                if not worker.endpoint.draining
            }
            pace = run.roles.pool_planner(id).pace
            leaving = pace.draining if pace is not None else frozenset()
            old = {r.id for r in pool.ready if run.world.now_s - (r.ready_at_s or 0.0) > 10.0}
            if not old - leaving <= usable <= set(pool.replicas):
                wrong.append(f"{role.process.name} sends to {usable} of {id}")
    return wrong


def _changed_lately(run: Run) -> bool:
    steps = run.world.journal.steps
    return any(step.at_s > run.world.now_s - _SETTLED_S for step in steps)


def _policy(name: str) -> Policy:
    return Weir(routers=2) if name == "weir" else make(name)
