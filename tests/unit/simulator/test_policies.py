"""Policies by name, the deployments they share, and each of them for a few hundred calls."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest

from tests.unit.simulator.worlds import scenario
from weir.domain.errors import WeirError
from weir.domain.ids import PoolId
from weir.simulator.call import End
from weir.simulator.policies import POLICIES, make
from weir.simulator.policies.autoscaled import Autoscaled
from weir.simulator.policies.deployments import free_gpus
from weir.simulator.policies.scaler import Wish
from weir.simulator.policies.seen import PoolSeen
from weir.simulator.run import simulate
from weir.simulator.scenario import Scenario
from weir.simulator.world import World

PREFILL, DECODE = PoolId("prefill"), PoolId("decode")

SIMPLE = (
    "static:7",
    "static:peak",
    "static:p99",
    "hpa",
    "keda-queue",
    "dynamo-throughput",
    "dynamo-latency",
    "dynamo-sla",
    "dynamo-sla:constant",
    "oracle:1.3",
)


@pytest.mark.parametrize(
    "name", ["", "unknown", "hpa:3", "static", "static:many", "dynamo-sla:arima", "oracle:-1"]
)
def test_an_unknown_policy_is_refused(name: str) -> None:
    with pytest.raises(WeirError, match=r"policy|policies"):
        make(name)


def test_the_refusal_lists_all_policies() -> None:
    with pytest.raises(WeirError) as error:
        make("unknown")
    assert [name for name in POLICIES if name not in str(error.value)] == []


def test_a_policy_imports_neither_the_others_nor_the_router() -> None:
    code = """
import sys
from weir.simulator.policies import make
make("hpa")
own = "weir.simulator.policies."
others = [own + name for name in ("weir", "keda", "dynamo", "oracle")] + ["router"]
print([name for name in others if name in sys.modules])
"""
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    assert shown.strip() == "[]"


# --- deployments --------------------------------------------------------------------------


class _Told:
    """Wants of the prefill pool what it is told, once every 10 s."""

    interval_s = 10.0

    def __init__(self, *wanted: int) -> None:
        self._wanted = list(wanted)
        self.seen: list[PoolSeen] = []

    def desired(self, seen: Mapping[PoolId, PoolSeen], now_s: float) -> Mapping[PoolId, Wish]:
        self.seen.append(seen[PREFILL])
        return {PREFILL: Wish(self._wanted.pop(0), "told so")} if self._wanted else {}


def _run(small: Scenario, scaler: _Told, first: int = 1) -> World:
    sizes = {PREFILL: first, DECODE: 1}
    world = World(small, Autoscaled(lambda world: scaler, lambda world: sizes))
    world.run()
    return world


def test_replicas_are_started_stopped_and_noted(tmp_path: Path) -> None:
    scaler = _Told(3, 3, 1)
    world = _run(scenario(tmp_path, [(1.0, 100, 10)], to_s=60.0), scaler)
    assert [(pool.starting, len(pool.ready)) for pool in scaler.seen[:4]] == [
        (0, 1),
        (0, 3),  # ordered at 10 s, there at 20 s
        (0, 3),
        (0, 1),
    ]
    steps = [(step.at_s, step.before, step.after, step.reason) for step in world.journal.steps]
    assert steps == [(10.0, 1, 3, "told so"), (30.0, 3, 1, "told so")]


def test_the_budget_is_a_quota_that_starts_wait_for(tmp_path: Path) -> None:
    # 16 GPUs: 2 of the decode pool, 14 prefill replicas.
    scaler = _Told(16)
    world = _run(scenario(tmp_path, [(1.0, 100, 10)], to_s=60.0), scaler)
    assert world.cluster.peak_gpus == 16
    assert len(world.cluster.pools[PREFILL].ready) == 14
    assert free_gpus(world, world.fleet.pool(PREFILL)) == 0


def test_a_replica_that_dies_is_replaced(tmp_path: Path) -> None:
    small = scenario(tmp_path, [(1.0, 100, 10)], to_s=60.0)
    scaler = _Told()
    world = World(small, Autoscaled(lambda world: scaler, lambda world: {PREFILL: 2, DECODE: 1}))
    pool = world.cluster.pools[PREFILL]
    world.events.at(21.0, lambda _: world.cluster.kill(pool.ready[0]))
    world.run()
    assert [len(seen.ready) for seen in scaler.seen[:4]] == [2, 2, 1, 2]
    assert world.journal.steps == []


def test_calls_and_utilisation_are_seen(tmp_path: Path) -> None:
    # 5 prompts of 1.024 s each on one replica from 6.5 s on: the first alone, then two and two.
    scaler = _Told()
    rows = [(6.5, 1024, 10)] * 5
    _run(scenario(tmp_path, rows, "pools.prefill.max_replicas=1", to_s=30.0), scaler)
    first, second = scaler.seen[:2]
    (replica,) = first.ready
    assert replica.utilization == pytest.approx(0.35)
    assert (replica.running, replica.waiting, first.in_flight) == (2, 0, 2)
    assert second.ready[0].utilization == pytest.approx(0.162)


# --- all of them --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """Five minutes of some 3 calls/s, of which the middle one has 6."""
    rng = Random(1)
    rows, at_s = [], 0.0
    while at_s < 300.0:
        at_s += rng.expovariate(6.0 if 120.0 < at_s < 180.0 else 3.0)
        rows.append((at_s, rng.choice((100, 300, 1200)), rng.choice((1, 20, 60))))
    folder = tmp_path_factory.mktemp("policies")
    return scenario(folder, rows, "simulation.speed_bias=0.2", "budget.gpus=24", to_s=300.0)


@pytest.mark.parametrize("name", SIMPLE)
def test_a_policy_serves_all_calls_and_breaks_no_rule(name: str, small: Scenario) -> None:
    world = simulate(small, name).world
    assert world.ends[End.COMPLETED] == len(small.columns)
    assert world.invariants.violations == []
    assert world.cluster.peak_gpus <= 24


@pytest.mark.parametrize("name", ["hpa", "dynamo-sla"])
def test_a_policy_serves_aggregated_pools(name: str, tmp_path: Path) -> None:
    small = scenario(
        tmp_path,
        [(at_s / 4.0, 300, 30) for at_s in range(400)],
        "pools.prefill.role=agg",
        "pools.decode.role=agg",
        to_s=100.0,
    )
    world = simulate(small, name).world
    assert world.ends[End.COMPLETED] == 400
    assert world.invariants.violations == []


def test_the_same_seed_is_the_same_run(small: Scenario) -> None:
    runs = [simulate(small, "dynamo-sla").world for _ in range(2)]
    assert runs[0].journal.steps == runs[1].journal.steps
    assert (runs[0].recorder.pools.ttft == runs[1].recorder.pools.ttft).all()
