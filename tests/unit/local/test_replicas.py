"""The replica table and the GPU ground truth, on numbers that can be checked by hand."""

import pytest

from weir.domain.fleet import (
    Budget,
    Fleet,
    Model,
    NodeGroup,
    PoolSpec,
    RequestClass,
    Role,
    Slo,
    TokenRange,
)
from weir.domain.ids import ClassName, ModelName, PoolId
from weir.domain.planning import PoolState
from weir.domain.profile import EngineProfile
from weir.local.gpus import GpuMeter
from weir.local.replicas import Refusal, Replica, ReplicaState, ReplicaTable

HOUR_S = 3600.0


def pool(name: str = "chat", gpus: int = 2) -> PoolSpec:
    return PoolSpec(
        id=PoolId(name),
        role=Role.AGG,
        model=ModelName("m"),
        gpus_per_replica=gpus,
        node_group="nodes",
        gpu_class="H100",
        min_replicas=1,
        max_replicas=4,
        floor_replicas=1,
        guarantee_replicas=1,
        weight=1.0,
        start_up_s=10.0,
        profile=EngineProfile(),
        context_limit_tokens=8192,
    )


def fleet(budget: Budget, node_gpus: int = 8) -> Fleet:
    slo = Slo(ttft_s=1.0, itl_s=0.1)
    everything = RequestClass(
        name=ClassName("all"), isl_tokens=TokenRange(), osl_tokens=TokenRange(), slo=slo
    )
    return Fleet(
        name="test",
        models=(Model(name=ModelName("m")),),
        classes=(everything,),
        budget=budget,
        node_groups=(NodeGroup(name="nodes", gpu_class="H100", gpus=node_gpus),),
        pools=(pool(),),
    )


def table(*, budget: Budget | None = None, node_gpus: int = 8) -> ReplicaTable:
    budget = budget or Budget(gpus=8)
    return ReplicaTable(fleet(budget, node_gpus), GpuMeter(budget, at_s=0.0))


def added(replicas: ReplicaTable, now_s: float = 0.0) -> Replica:
    entry = replicas.add(pool(), 1, now_s)
    assert isinstance(entry, Replica)
    return entry


def test_gpus_are_held_from_the_start_until_the_process_is_gone() -> None:
    replicas = table()
    replica = added(replicas, now_s=0.0)
    replicas.terminate(replica)
    assert replicas.gpus.held_gpus == 2
    replicas.remove(replica, now_s=HOUR_S)
    assert replicas.gpus.held_gpus == 0
    # Two GPUs for one hour; nothing after that.
    assert replicas.gpus.gpu_hours(2 * HOUR_S) == pytest.approx(2.0)


def test_a_dead_replica_is_starting_and_still_holds_its_gpus() -> None:
    replicas = table()
    replica = added(replicas)
    replicas.set_ready(replica, True)
    replicas.set_ready(replica, False)
    assert replicas.state(PoolId("chat")) == PoolState(ready=0, starting=1, terminating=0)
    assert replicas.gpus.held_gpus == 2


def test_a_terminating_replica_never_becomes_ready_again() -> None:
    replicas = table()
    replica = added(replicas)
    replicas.terminate(replica)
    replicas.set_ready(replica, True)
    assert replica.state is ReplicaState.TERMINATING


def test_a_start_without_free_gpus_is_refused_and_changes_nothing() -> None:
    replicas = table(node_gpus=3)
    added(replicas)
    refusal = replicas.add(pool(), 2, 0.0)
    assert refusal == Refusal("node group nodes has 1 free GPUs, a replica of chat needs 2")
    assert replicas.gpus.held_gpus == 2
    assert len(replicas.of("chat")) == 1


def test_ids_are_never_used_twice() -> None:
    replicas = table()
    first = added(replicas)
    replicas.remove(first, 1.0)
    assert [first.id, added(replicas).id] == ["chat-0", "chat-1"]


def test_only_commanded_changes_of_a_ready_fleet_are_scale_events() -> None:
    replicas = table()
    first = added(replicas)
    replicas.set_ready(first, True)
    replicas.begin_history()
    second = added(replicas)
    replicas.set_ready(second, True)
    replicas.set_ready(first, False)  # crashed and restarted
    replicas.set_ready(first, True)
    assert replicas.terminate(second)
    assert not replicas.terminate(second)
    history = replicas.history(PoolId("chat"))
    assert history is not None
    assert (history.scale_ups, history.scale_downs) == (1, 1)
    assert (history.lowest, history.highest) == (1, 2)


def test_a_violation_is_counted_once_per_crossing_of_the_budget() -> None:
    meter = GpuMeter(Budget(gpus=4), at_s=0.0)
    for gpus, now_s in ((4, 0.0), (1, 1.0), (1, 2.0), (-2, 3.0), (1, 4.0)):
        meter.hold("H100", gpus, now_s)
    assert meter.violations == 2
    assert meter.peak_gpus == 6


def test_a_gpu_class_limit_is_part_of_the_budget() -> None:
    meter = GpuMeter(Budget(gpus=8, by_gpu_class={"H100": 2}), at_s=0.0)
    meter.hold("A100", 4, 0.0)
    assert meter.violations == 0
    meter.hold("H100", 3, 0.0)
    assert meter.violations == 1
