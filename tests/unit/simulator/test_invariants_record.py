"""What one record may hold after another, in a world that has nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.simulator.worlds import Scripted, scenario
from weir.domain.ids import PoolId
from weir.domain.overrides import Overrides
from weir.domain.record import LedgerRecord, OpenGrant, PoolLine
from weir.simulator.world import World

LINE = PoolLine(
    pool_id=PoolId("decode"),
    gpus_per_replica=2,
    gpu_class="gpu",
    node_group="nodes",
    charged_replicas=1,
    open=(OpenGrant(term=4, epoch=2, replicas=3),),
)
FIRST = LedgerRecord(term=4, owner="one", serial=1, pools=(LINE,))
NEXT = replace(FIRST, term=5, owner="two")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(scenario(tmp_path, [(1.0, 500, 11)], to_s=20.0), Scripted())


def found(world: World, *records: LedgerRecord) -> list[str]:
    before = None
    for record in records:
        world.invariants.grants.written(record, before)
        before = record
    return [text.split(" s: ")[1] for text in world.invariants.violations]


def test_a_leader_that_begins_with_what_there_was_breaks_no_rule(world: World) -> None:
    renewed = replace(FIRST, serial=2, pools=(replace(LINE, open=()),))
    assert found(world, FIRST, renewed, NEXT, replace(NEXT, owner="")) == []


def test_the_term_never_falls(world: World) -> None:
    assert found(world, NEXT, FIRST) == ["the record's term falls from 5 to 4"]


def test_a_term_is_one_processs(world: World) -> None:
    assert found(world, FIRST, replace(FIRST, owner="two")) == ["term 4 is one's and two's"]


def test_a_leader_begins_with_every_charge(world: World) -> None:
    less = replace(NEXT, pools=(replace(LINE, open=()),))
    assert found(world, FIRST, less) == ["term 5 begins with less than 3 replicas of decode"]


def test_a_leader_begins_with_what_operators_have_changed(world: World) -> None:
    changed = replace(FIRST, overrides=Overrides(budget_gpus=7))
    assert found(world, changed, NEXT) == [
        "term 5 begins without what operators had changed before"
    ]
