"""What becomes of a Fleet document that is changed while the fleet runs."""

import logging
from pathlib import Path

import pytest

from globalplanner.core.operators.proposals import Mode
from globalplanner.reload import Reload
from tests.unit.globalplanner.live import HandClock, Live
from weir.domain.fleet import Role
from weir.domain.ids import PoolId
from weir.domain.overrides import Overrides
from weir.fleet import load

A, B, C = PoolId("a"), PoolId("b"), PoolId("c")
TEXT = """\
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: test}
spec:
  models: [{name: m}]
  classes: [{name: chat, ttft_ms: 2000, itl_ms: 100}]
  budget: {gpus: 8}
  pools:
    - {name: a, role: agg, model: m}
    - {name: b, role: agg, model: m}
"""


class Reloading:
    """A GlobalPlanner and its document; `look` is as often as a change takes to be seen."""

    def __init__(self, folder: Path, *, advisory: bool = False) -> None:
        self.path = folder / "fleet.yaml"
        self.text = TEXT
        self.path.write_text(self.text)
        loaded = load(self.path, ["spec.planner.interval_s=2"])
        self.live = Live(loaded.fleet, mode=Mode.ADVISE if advisory else Mode.ACT)
        self.planner, self.gate = self.live.planner, self.live.gate
        self.reload = Reload(
            self.planner,
            self.gate,
            loaded,
            self.live.metrics,
            self.live.clock.unix_s,
            advisory=advisory,
        )

    async def look(self) -> None:
        for _ in range(2):
            await self.reload.step()

    async def write(self, *changes: tuple[str, str]) -> None:
        for old, new in changes:
            assert old in self.text
            self.text = self.text.replace(old, new)
        self.path.write_text(self.text)
        await self.look()

    @property
    def usable(self) -> float | None:
        name = "weir_globalplanner_document_usable"
        return self.live.metrics.registry.get_sample_value(name)


@pytest.fixture
def world(tmp_path: Path) -> Reloading:
    return Reloading(tmp_path)


async def test_a_changed_document_counts_and_the_log_says_what_has_changed(
    world: Reloading, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "weir.globalplanner")
    await world.look()
    assert "document:" not in caplog.text
    await world.write(
        ("gpus: 8", "gpus: 12"), ("role: agg, model: m}\n", "role: agg, model: m, weight: 2}\n")
    )
    assert world.planner.fleet.budget.gpus == world.planner.document.budget.gpus == 12
    assert {pool.weight for pool in world.planner.fleet.pools} == {2.0}
    assert "document: budget: 8 -> 12 GPUs" in caplog.text
    assert "document: pool a: max_replicas 8 -> 12, weight 1 -> 2" in caplog.text


async def test_what_is_set_on_the_command_line_stays_set(world: Reloading) -> None:
    await world.write(("gpus: 8", "gpus: 12"))
    assert world.reload._loaded.sets == ("spec.planner.interval_s=2",)
    assert world.reload._loaded.planner.interval_s == 2.0


async def test_pools_come_and_go(world: Reloading) -> None:
    world.live.run(6, rps=1)
    await world.write(("name: b", "name: c"))
    world.live.run(6, rps=1)
    assert world.live.targets.keys() == {"a", "c"}
    assert world.live.targets["c"] == 1


async def test_a_pool_that_is_gone_stays_charged_until_nothing_of_it_runs(world: Reloading) -> None:
    world.live.run(6, rps=1)
    await world.write(("name: b", "name: c"))
    world.live.run(6, rps=1, b=1)
    charged = {pool.pool_id: pool.charged_gpus for pool in world.planner.standing().pools}
    assert charged == {"a": 1, "b": 1, "c": 1}


async def test_a_broken_document_leaves_the_last_good_one_and_is_told_once(
    world: Reloading, caplog: pytest.LogCaptureFixture
) -> None:
    await world.write(("gpus: 8", "gpus: 12"))
    await world.write(("gpus: 12", "gpus: none"))
    await world.look()
    assert world.planner.document.budget.gpus == 12
    assert world.usable == 0.0
    assert "line 7: spec.budget.gpus: must be a whole number" in world.reload.problem
    assert caplog.text.count("must be a whole number") == 1
    await world.write(("gpus: none", "gpus: 10"))
    assert world.planner.document.budget.gpus == 10
    assert (world.usable, world.reload.problem) == (1.0, "")


async def test_a_document_that_is_not_there_leaves_the_last_good_one(world: Reloading) -> None:
    await world.look()
    world.path.unlink()
    await world.look()
    assert world.planner.document.budget.gpus == 8
    assert "is not there" in world.reload.problem and world.usable == 0.0
    await world.write(("gpus: 8", "gpus: 9"))
    assert world.planner.document.budget.gpus == 9
    assert world.usable == 1.0


async def test_the_same_document_again_mends_a_missing_one(world: Reloading) -> None:
    await world.look()
    moved = world.path.rename(world.path.with_suffix(".away"))
    await world.look()
    moved.rename(world.path)
    await world.look()
    assert (world.usable, world.reload.problem) == (1.0, "")


async def test_a_document_is_read_once_it_has_stopped_changing(world: Reloading) -> None:
    await world.look()
    world.path.write_text(TEXT.replace("gpus: 8", "gpus: 9"))
    await world.reload.step()
    world.path.write_text(TEXT.replace("gpus: 8", "gpus: 10"))
    await world.reload.step()
    assert world.planner.document.budget.gpus == 8
    await world.reload.step()
    assert world.planner.document.budget.gpus == 10


async def test_a_document_behind_swapped_links_is_followed(tmp_path: Path) -> None:
    # as Kubernetes mounts a ConfigMap
    world = Reloading(tmp_path)
    for version, gpus in (("one", "8"), ("two", "11")):
        folder = tmp_path / version
        folder.mkdir()
        (folder / "fleet.yaml").write_text(TEXT.replace("gpus: 8", f"gpus: {gpus}"))
    world.path.unlink()
    (tmp_path / "data").symlink_to("one")
    world.path.symlink_to("data/fleet.yaml")
    await world.look()
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(tmp_path / "data")
    await world.look()
    assert world.planner.document.budget.gpus == 11


async def test_another_fleet_is_refused(world: Reloading) -> None:
    await world.write(("name: test", "name: other"), ("gpus: 8", "gpus: 12"))
    assert world.planner.document.budget.gpus == 8
    assert "from 'test' to 'other': another fleet" in world.reload.problem


async def test_floors_that_do_not_fit_what_is_set_live_are_refused(world: Reloading) -> None:
    await world.live.operations.set_budget(4, {}, dry_run=False)
    await world.write(("{name: a,", "{name: a, min_replicas: 4,"))
    assert world.planner.document.pool(A).min_replicas == 1
    assert "floors need 5 GPUs, budget holds 4" in world.reload.problem
    await world.live.operations.set_budget(None, {}, dry_run=False)
    await world.look()
    assert world.planner.document.pool(A).min_replicas == 4
    assert (world.usable, world.reload.problem) == (1.0, "")


async def test_what_is_set_live_stays_and_rests_while_the_document_lacks_its_pool(
    world: Reloading, caplog: pytest.LogCaptureFixture
) -> None:
    await world.live.operations.set_budget(6, {}, dry_run=False)
    await world.live.operations.freeze(B, thaw=False, why="w", dry_run=False)
    await world.write(("name: b", "name: c"))
    assert world.planner.overrides == Overrides(budget_gpus=6, frozen={B: "w"})
    assert world.planner.fleet.budget.gpus == 6
    assert "the freeze of pool b: the document has no such pool" in caplog.text


async def test_a_pool_keeps_its_role_while_it_runs_and_all_else_counts(
    world: Reloading, caplog: pytest.LogCaptureFixture
) -> None:
    world.live.run(6, rps=1)
    prefill = "    - {name: b, role: prefill, model: m}\n    - {name: d, role: decode, model: m}"
    await world.write(("    - {name: b, role: agg, model: m}", prefill), ("gpus: 8", "gpus: 12"))
    await world.look()
    assert world.planner.document.pool(B).role is Role.AGG
    assert world.planner.fleet.budget.gpus == 12
    assert caplog.text.count("pool b stays agg of m") == 1
    await world.live.operations.drain(B, undo=False, why="", dry_run=False)
    world.live.run(10, rps=1)
    await world.look()
    assert world.planner.document.pool(B).role is Role.PREFILL


async def test_a_pool_of_another_size_is_charged_as_it_was_until_it_has_gone(
    world: Reloading,
) -> None:
    world.live.run(6, rps=1)
    await world.write(("{name: b,", "{name: b, gpus_per_replica: 2,"))
    world.live.run(4, rps=1)
    (b,) = (pool for pool in world.planner.standing().pools if pool.pool_id == B)
    assert b.charged_gpus == 1
    assert "1 x gpu in default became 2 x gpu in default" in b.reason


async def test_who_lets_decisions_happen_can_be_changed(world: Reloading) -> None:
    await world.write(("  models:", "  planner: {approve: required}\n  models:"))
    assert world.gate.mode is Mode.APPROVE
    await world.write(("approve: required", "advisory: true"))
    assert world.gate.mode is Mode.ADVISE
    await world.write(("advisory: true", "interval_s: 2.0"))
    assert world.gate.mode is Mode.ACT


async def test_a_process_that_was_told_to_advise_advises_whatever_documents_say(
    tmp_path: Path,
) -> None:
    world = Reloading(tmp_path, advisory=True)
    await world.write(("  models:", "  planner: {approve: required}\n  models:"))
    assert world.gate.mode is Mode.ADVISE


async def test_a_setting_that_needs_a_restart_is_told(
    world: Reloading, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "weir.globalplanner")
    await world.write(("  models:", "  planner: {utilization: 0.7}\n  models:"))
    assert "spec.planner.utilization: 0.8 -> 0.7; counts after a restart" in caplog.text


async def test_the_budget_follows_its_windows(world: Reloading) -> None:
    await world.write(("{gpus: 8}", "{gpus: 8, windows: [{from: 00:05, to: 00:10, gpus: 3}]}"))
    world.live.run(10, rps=40)
    assert sum(world.live.targets.values()) == 8
    HandClock.time_s = 299.0
    await world.look()
    assert world.planner.fleet.budget.gpus == 8
    HandClock.time_s = 300.0
    await world.look()
    assert world.planner.fleet.budget.gpus == 3
    world.live.run(10, rps=40)
    assert sum(world.live.targets.values()) == 3
    HandClock.time_s = 600.0
    await world.look()
    world.live.run(10, rps=40)
    assert sum(world.live.targets.values()) == 8


async def test_a_budget_set_live_comes_before_windows(world: Reloading) -> None:
    await world.write(("{gpus: 8}", "{gpus: 8, windows: [{from: 00:05, to: 00:10, gpus: 3}]}"))
    await world.live.operations.set_budget(5, {}, dry_run=False)
    HandClock.time_s = 301.0
    await world.look()
    assert world.planner.fleet.budget.gpus == 5
    await world.live.operations.set_budget(None, {}, dry_run=False)
    assert world.planner.fleet.budget.gpus == 3
