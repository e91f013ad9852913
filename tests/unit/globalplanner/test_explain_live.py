"""What a whole GlobalPlanner, that has decided itself, tells of its decisions."""

from globalplanner.core.operators.proposals import Mode
from globalplanner.decisions.decided import Decided, record_of
from globalplanner.decisions.explain import Explainer
from globalplanner.decisions.history import History
from tests.unit.globalplanner.fleets import CHAT, fleet, pool
from tests.unit.globalplanner.live import Live
from weir.domain.decision import Outcome
from weir.domain.fleet import NodeGroup
from weir.domain.ids import PoolId

A, B = PoolId("a"), PoolId("b")


class Desk(Live):
    """Two pools of up to 4 replicas, that carry 5 requests/s each, and 6 GPUs under two limits."""

    def __init__(self, *, mode: Mode = Mode.ACT) -> None:
        nodes = NodeGroup(name="nodes", gpu_class="gpu", gpus=6)
        super().__init__(fleet([pool("a"), pool("b")], gpus=6, node_groups=[nodes]), mode=mode)
        self.history = History()
        self.planner.on_decision.append(self.keep)
        self.explainer = Explainer(
            self.planner, self.history, wall_s=self.clock.wall_s, unix_s=self.clock.unix_s
        )

    def keep(self, decided: Decided) -> None:
        self.history.keep(record_of(decided, self.planner.rules))

    def told(self, pool_id: PoolId) -> str:
        return "\n".join(self.explainer.pool(pool_id).lines)


def test_growth_is_on_record_with_its_reason_and_its_worth() -> None:
    desk = Desk()
    desk.run(10, rps=20)
    grown = next(r for r in desk.history.last(99) if any(p.before < p.after for p in r.pools))
    assert grown.outcome is Outcome.ACTED
    assert any("rps needs" in p.reason for p in grown.pools)
    assert grown.value is not None and grown.full_value is not None
    assert 0.0 < grown.value <= grown.full_value
    assert grown.class_reasons[CHAT].startswith("offered")
    lines = desk.explainer.decision(grown.id).lines
    assert lines[0] == f"decision {grown.id}: acted on"


def test_nothing_is_recorded_while_nothing_changes() -> None:
    desk = Desk()
    desk.run(20, rps=8)
    known = desk.history.newest
    desk.run(10, rps=8)
    assert desk.history.newest is known


def test_two_limits_that_bind_at_once_are_both_named() -> None:
    desk = Desk()
    desk.run(20, rps=60)
    assert sum(desk.targets.values()) == 6
    text = desk.told(B)  # a has its maximum
    assert "one more replica here would add 5 req/s, 5 req/s a GPU" in text
    assert "GPUs are at a, 4: one replica fewer there would lose 5 req/s" in text
    assert "more GPUs under budget and node group nodes, or less demand" in text


def test_idle_replicas_are_told_when_they_will_go() -> None:
    desk = Desk()
    desk.run(20, rps=20)
    desk.run(10, rps=8)
    shrinking = next(id for id in (A, B) if "fewer replicas: " in desk.told(id))
    assert " s unless more is needed until then" in desk.told(shrinking)


async def test_a_frozen_and_a_drained_pool_say_so() -> None:
    desk = Desk()
    desk.run(10, rps=8)
    await desk.operations.freeze(A, thaw=False, why="incident 17", dry_run=False)
    await desk.operations.drain(B, undo=False, why="new nodes", dry_run=False)
    desk.run(4, rps=8)
    assert "nothing, it is frozen: incident 17" in desk.told(A)
    assert "nothing, it is drained: new nodes" in desk.told(B)


def test_advice_is_on_record_and_nobody_waits_for_it() -> None:
    desk = Desk(mode=Mode.ADVISE)
    desk.run(20, rps=60)
    assert desk.targets == {"a": 1, "b": 1}
    advice = desk.history.newest
    assert advice is not None and advice.outcome is Outcome.ADVISED
    assert {p.before for p in advice.pools} == {1}
    assert sum(p.after for p in advice.pools) == 6
    assert "is advice (mode advise)" in desk.told(A)
    assert desk.metrics.registry.get_sample_value(
        "weir_globalplanner_outcomes_total", {"outcome": "advised"}
    )


async def test_what_waits_for_approval_is_proposed_and_then_approved() -> None:
    desk = Desk(mode=Mode.APPROVE)
    desk.run(20, rps=60)
    assert desk.targets == {"a": 1, "b": 1}
    assert desk.history.newest is not None
    assert desk.history.newest.outcome is Outcome.PROPOSED
    assert "waits for   approval: 1 -> 4 is decided" in desk.told(A)
    assert "to change   weir approve" in desk.told(A)
    (waiting,) = desk.gate.waiting
    await desk.operations.approve(waiting.id, reject=False)
    desk.run(4, rps=60)
    assert desk.targets == {"a": 4, "b": 2}
    assert Outcome.APPROVED in {r.outcome for r in desk.history.last(9)}
