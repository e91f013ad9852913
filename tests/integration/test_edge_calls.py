"""Reads and operators' calls: what is handed on, what is refused, and how errors are told."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from globalplanner.edge import Edge, Offers
from tests.integration.edge_world import Client, EdgeWorld, client, report_of
from tests.unit.globalplanner.fleets import fleet, pool
from weir.api.v1 import planner_pb2
from weir.domain.decision import Explanation
from weir.domain.errors import (
    InfeasibleFloorsError,
    UnavailableError,
    UnknownClassError,
    UnknownDecisionError,
    UnknownPoolError,
    UnknownProposalError,
)
from weir.domain.ids import ClassName, PoolId
from weir.domain.overrides import ClassTargets


@dataclass
class Effect:
    applied: bool = True
    lines: tuple[str, ...] = ("chat: 4.0 -> 5.0 req/s",)
    value_before: float = 4.0
    value_after: float = 5.0
    served_before_rps: Mapping[ClassName, float] = field(
        default_factory=lambda: {ClassName("chat"): 4.0}
    )
    served_after_rps: Mapping[ClassName, float] = field(
        default_factory=lambda: {ClassName("chat"): 5.0}
    )


@dataclass
class Operations:
    """Notes what it is asked; raises `error` if there is one."""

    asked: list[Any] = field(default_factory=list)
    error: Exception | None = None

    async def set_budget(self, gpus: Any, gpus_by_class: Any, *, dry_run: bool) -> Effect:
        return self._done("budget", gpus, gpus_by_class, dry_run)

    async def set_slo(self, class_name: Any, targets: Any, *, dry_run: bool) -> Effect:
        return self._done("slo", class_name, targets, dry_run)

    async def freeze(self, pool_id: Any, *, thaw: bool, why: str, dry_run: bool) -> Effect:
        return self._done("freeze", pool_id, thaw, why, dry_run)

    async def drain(self, pool_id: Any, *, undo: bool, why: str, dry_run: bool) -> Effect:
        return self._done("drain", pool_id, undo, why, dry_run)

    async def approve(self, proposal_id: str, *, reject: bool) -> tuple[str, ...]:
        self._done("approve", proposal_id, reject)
        return ("done",)

    def _done(self, *asked: Any) -> Effect:
        if self.error is not None:
            raise self.error
        self.asked.append(asked)
        return Effect()


class Explainer:
    def recent(self) -> Explanation:
        return Explanation(lines=("lately",))

    def pool(self, pool_id: PoolId, /) -> Explanation:
        if pool_id != "a":
            raise UnknownPoolError(pool_id)
        return Explanation(lines=("a has one replica",))

    def of_class(self, name: ClassName, /) -> Explanation:
        raise UnknownClassError(name)

    def decision(self, decision_id: str, /) -> Explanation:
        raise UnknownDecisionError(decision_id)


class WhatIf:
    value = 6.0
    value_now = 5.0
    full_value = 7.0
    price_by_limit: Mapping[str, float] = {"budget": 1.7}
    served_now_rps: Mapping[ClassName, float] = {ClassName("chat"): 5.0}
    served_rps: Mapping[ClassName, float] = {ClassName("chat"): 6.0}
    replicas_by_pool: Mapping[PoolId, int] = {PoolId("a"): 2}
    lines = ("one more GPU would add 1.7 req/s",)

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def ask(self, more: Mapping[str, int], load_factor: float, /) -> "WhatIf":
        self.asked.append((dict(more), load_factor))
        return self


@pytest.fixture
def world() -> EdgeWorld:
    return EdgeWorld()


@pytest.fixture
def operations() -> Operations:
    return Operations()


@pytest.fixture
def what_if() -> WhatIf:
    return WhatIf()


@pytest.fixture
async def edge(world: EdgeWorld, operations: Operations, what_if: WhatIf) -> AsyncIterator[Edge]:
    offers = Offers(explainer=Explainer(), what_if=what_if, operations=operations)
    async with world.serving(offers) as edge:
        yield edge


@pytest.fixture
async def caller(edge: Edge) -> AsyncIterator[Client]:
    async with client(edge) as caller:
        yield caller


async def test_what_operators_ask_is_handed_on_as_it_is_meant(
    caller: Client, operations: Operations
) -> None:
    await caller.call(
        "SetBudget", planner_pb2.SetBudgetRequest(gpus=0, gpus_by_class={"H200": 4}, dry_run=True)
    )
    await caller.call("SetBudget", planner_pb2.SetBudgetRequest())
    targets = planner_pb2.ClassTargets(ttft_s=0.5, priority=-1)
    await caller.call("SetSlo", planner_pb2.SetSloRequest(class_name="chat", targets=targets))
    await caller.call("Freeze", planner_pb2.FreezeRequest(why="night"))
    await caller.call("Drain", planner_pb2.DrainRequest(pool_id="a", undo=True))
    await caller.call("Approve", planner_pb2.ApproveRequest(proposal_id="p1", reject=True))
    assert operations.asked == [
        ("budget", 0, {"H200": 4}, True),
        ("budget", None, {}, False),
        ("slo", "chat", ClassTargets(ttft_s=0.5, priority=-1), False),
        ("freeze", None, False, "night", False),
        ("drain", "a", True, "", False),
        ("approve", "p1", True),
    ]


async def test_the_effect_is_told(caller: Client) -> None:
    answer = await caller.call("SetBudget", planner_pb2.SetBudgetRequest(gpus=4))
    assert answer == planner_pb2.SetResponse(
        applied=True,
        lines=["chat: 4.0 -> 5.0 req/s"],
        value_before=4.0,
        value_after=5.0,
        served_before_rps={"chat": 4.0},
        served_after_rps={"chat": 5.0},
    )


def slo(**targets: Any) -> planner_pb2.SetSloRequest:
    return planner_pb2.SetSloRequest(class_name="chat", targets=planner_pb2.ClassTargets(**targets))


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("SetBudget", planner_pb2.SetBudgetRequest(gpus=-1), "gpus"),
        ("SetBudget", planner_pb2.SetBudgetRequest(gpus=2_000_000), "gpus"),
        ("SetBudget", planner_pb2.SetBudgetRequest(gpus_by_class={"x": -1}), "gpus_by_class[x]"),
        ("SetBudget", planner_pb2.SetBudgetRequest(gpus_by_class={"": 1}), "gpus_by_class"),
        ("SetSlo", planner_pb2.SetSloRequest(), "class_name"),
        ("SetSlo", slo(ttft_s=0.0), "ttft_s"),
        ("SetSlo", slo(itl_s=float("nan")), "itl_s"),
        ("SetSlo", slo(weight=float("inf")), "weight"),
        ("SetSlo", slo(weight=1e12), "weight"),
        ("SetSlo", slo(priority=-(2**31)), "priority"),
        ("Freeze", planner_pb2.FreezeRequest(why="a\nb"), "why"),
        ("Freeze", planner_pb2.FreezeRequest(why="\x1b[2J"), "why"),
        ("Freeze", planner_pb2.FreezeRequest(pool_id="x" * 300), "pool_id"),
        ("Drain", planner_pb2.DrainRequest(), "pool_id"),
        ("Drain", planner_pb2.DrainRequest(pool_id="a", why="x" * 501), "why"),
        ("Approve", planner_pb2.ApproveRequest(), "proposal_id"),
        ("WhatIf", planner_pb2.WhatIfRequest(load_factor=-1.0), "load_factor"),
        ("WhatIf", planner_pb2.WhatIfRequest(load_factor=float("nan")), "load_factor"),
        ("WhatIf", planner_pb2.WhatIfRequest(load_factor=1e6), "load_factor"),
        (
            "WhatIf",
            planner_pb2.WhatIfRequest(more_gpus_by_class={"x": -(2**31)}),
            "more_gpus_by_class[x]",
        ),
    ],
)
async def test_what_cannot_be_meant_is_refused_by_its_field(
    caller: Client, operations: Operations, method: str, request_: Any, field: str
) -> None:
    code, details = await caller.refusal(method, request_)
    assert code == "INVALID_ARGUMENT"
    assert field in details
    assert operations.asked == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("gpus_by_class: no such class"), "INVALID_ARGUMENT"),
        (UnknownProposalError("p9"), "NOT_FOUND"),
        (UnknownPoolError("z"), "NOT_FOUND"),
        (InfeasibleFloorsError(needed=9, most=4), "FAILED_PRECONDITION"),
        (UnavailableError("the change could not be stored"), "UNAVAILABLE"),
    ],
)
async def test_an_error_becomes_its_status(
    caller: Client, operations: Operations, error: Exception, code: str
) -> None:
    operations.error = error
    refusal = await caller.refusal("SetBudget", planner_pb2.SetBudgetRequest(gpus=4))
    assert refusal == (code, str(error))


async def test_a_defect_is_told_without_its_details_and_logged(
    caller: Client, operations: Operations, caplog: pytest.LogCaptureFixture
) -> None:
    operations.error = RuntimeError("something private")
    code, details = await caller.refusal("SetBudget", planner_pb2.SetBudgetRequest(gpus=4))
    assert code == "INTERNAL"
    assert "private" not in details
    assert "something private" in caplog.text


async def test_explanations_and_what_if_are_handed_on(caller: Client, what_if: WhatIf) -> None:
    answer = await caller.call("Explain", planner_pb2.ExplainRequest(pool_id="a"))
    assert answer.lines == ["a has one replica"]
    assert not answer.HasField("decision")
    assert (await caller.call("Explain", planner_pb2.ExplainRequest())).lines == ["lately"]
    for request in (
        planner_pb2.ExplainRequest(pool_id="z"),
        planner_pb2.ExplainRequest(class_name="z"),
        planner_pb2.ExplainRequest(decision_id="1.1"),
    ):
        assert (await caller.refusal("Explain", request))[0] == "NOT_FOUND"
    answer = await caller.call("WhatIf", planner_pb2.WhatIfRequest())
    assert (answer.value, answer.price_by_limit["budget"]) == (6.0, 1.7)
    await caller.call(
        "WhatIf", planner_pb2.WhatIfRequest(more_gpus_by_class={"gpu": -1}, load_factor=2.0)
    )
    assert what_if.asked == [({}, 1.0), ({"gpu": -1}, 2.0)]


async def test_health_tells_of_store_reports_and_silent_pools(
    world: EdgeWorld, caller: Client
) -> None:
    await caller.call("Report", report_of("a", 1))
    health = await caller.call("Health", planner_pb2.HealthRequest())
    assert (health.leading, health.term, health.growing) == (True, 7, True)
    assert (health.store_connected, health.confirmed_age_s) == (True, 0.25)
    assert list(health.report_age_s) == ["a"]
    assert health.silent_pools == ["b", "c"]
    assert health.problem == "no router has been heard; silent: b, c"
    assert not health.HasField("traffic_age_s")
    world.connected = False
    health = await caller.call("Health", planner_pb2.HealthRequest())
    assert "the store does not answer" in health.problem
    world.planner.yield_to("test")
    health = await caller.call("Health", planner_pb2.HealthRequest())
    assert (health.leading, health.problem) == (False, "does not lead: test")


async def test_one_bad_pool_is_refused_alone_and_status_says_why(
    world: EdgeWorld, caller: Client
) -> None:
    for pool_id in ("a", "b"):
        await caller.call("Report", report_of(pool_id, 1))
    await caller.refusal("Report", report_of("a", 2, gpus_per_replica=4))
    await caller.call("Report", report_of("b", 2))
    a, b, _ = (await caller.status()).pools
    assert "newest report refused: gpus_per_replica is 4, but 1" in a.reason
    assert (a.charged_gpus, a.state.ready) == (1, 1)
    assert "refused" not in b.reason
    assert world.refused("invalid") == 1
    await caller.call("Report", report_of("a", 3))
    assert "refused" not in (await caller.status()).pools[0].reason


async def test_a_pool_that_the_document_has_lost_still_reports_until_it_is_gone(
    world: EdgeWorld, caller: Client
) -> None:
    await caller.call("Report", report_of("c", 1, role="agg", gpus_per_replica=1))
    left = fleet([pool("a"), pool("b")], gpus=8)
    world.planner.revise(left, world.planner.overrides, document=left)
    answer = await caller.call("Report", report_of("c", 2, role="agg", gpus_per_replica=1))
    assert answer.grant.replicas == 0
    code, _ = await caller.refusal("Report", report_of("d", 1))
    assert code == "NOT_FOUND"


async def test_a_pool_whose_size_has_changed_reports_with_either_document(
    world: EdgeWorld, caller: Client
) -> None:
    await caller.call("Report", report_of("c", 1, gpus_per_replica=1))
    grown = fleet([pool("a"), pool("b"), pool("c", gpus_per_replica=2)], gpus=8)
    world.planner.revise(grown, world.planner.overrides, document=grown)
    await caller.call("Report", report_of("c", 2, gpus_per_replica=1))
    await caller.call("Report", report_of("c", 3, gpus_per_replica=2))
    code, _ = await caller.refusal("Report", report_of("c", 4, gpus_per_replica=4))
    assert code == "INVALID_ARGUMENT"


async def test_classes_of_a_newer_document_freeze_nothing(world: EdgeWorld, caller: Client) -> None:
    report = report_of("a", 1, capacity_rps={"chat": 5.0, "new": 3.0})
    assert (await caller.call("Report", report)).newest_sequence == 1
    registry = world.metrics.registry
    assert registry.get_sample_value("weir_globalplanner_strange_classes_total") == 1.0


async def test_a_name_without_end_does_not_break_the_answer(caller: Client) -> None:
    code, details = await caller.refusal("Report", report_of("x" * 100_000, 1))
    assert code == "INVALID_ARGUMENT"
    assert "pool_id" in details
    assert len(details) <= 1000
