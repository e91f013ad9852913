"""How `weir status` shows what a GlobalPlanner answers."""

from typing import Any

import pytest

from weir.api.v1 import planner_pb2
from weir.cli import main
from weir.cli.options import addresses
from weir.cli.plain import plain
from weir.cli.status_text import status_lines


def status(**changes: Any) -> planner_pb2.StatusResponse:
    pool = planner_pb2.PoolStatus(
        pool_id="a",
        granted_replicas=2,
        wanted_replicas=3,
        charged_gpus=4,
        state=planner_pb2.PoolState(ready=1, starting=1),
        report_age_s=0.25,
        reason="3: offered 7.1 rps needs 2.4 replicas; waits for b to release GPUs",
    )
    fields: dict[str, Any] = {
        "term": 7,
        "leading": True,
        "budget_gpus": 8,
        "charged_gpus": 5,
        "peak_charged_gpus": 6,
        "pools": [pool, planner_pb2.PoolStatus(pool_id="b", charged_gpus=1, reason="as found")],
    }
    return planner_pb2.StatusResponse(**(fields | changes))


def lines(
    answer: planner_pb2.StatusResponse, health: planner_pb2.HealthResponse | None = None
) -> list[str]:
    sound = planner_pb2.HealthResponse(leading=True, growing=True)
    return list(status_lines(answer, sound if health is None else health))


def test_each_pool_has_a_line_and_what_is_unknown_is_no_zero() -> None:
    shown = lines(status())
    assert shown[0] == "the GlobalPlanner leads in term 7"
    assert shown[1] == "5 of 8 GPUs charged, 6 at most so far"
    assert shown[4:] == [
        "  pool  granted  wanted  ready  starting  ending  GPUs  report  why",
        "  a     2        3       1      1         0       4     0.2 s   "
        "3: offered 7.1 rps needs 2.4 replicas; waits for b to release GPUs",
        "  b     0        0       –      –         –       1     never   as found",
    ]


def test_power_and_infeasible_classes_are_shown() -> None:
    gpus = planner_pb2.LimitStatus(name="budget", unit="GPUs", most=8, charged=5)
    power = planner_pb2.LimitStatus(name="power", unit="W", most=6000, charged=3500)
    shown = lines(status(limits=[gpus, power], infeasible_classes=["chat", "long"]))
    assert shown[1:4] == [
        "5 of 8 GPUs charged, 6 at most so far",
        "3500 of 6000 W charged (power)",
        "infeasible, nothing grows for it: class chat, long",
    ]


def test_what_is_wrong_comes_first() -> None:
    health = planner_pb2.HealthResponse(problem="the store does not answer")
    shown = lines(status(holding="no traffic has been seen", budget_violations=2), health)
    assert shown[2:5] == [
        "a limit has been exceeded 2 times",
        "problem: the store does not answer",
        "holding: no traffic has been seen",
    ]


def test_one_that_does_not_lead_says_so_and_no_more() -> None:
    reason = "does not lead: it waits"
    health = planner_pb2.HealthResponse(problem=reason)
    shown = lines(planner_pb2.StatusResponse(budget_gpus=8, holding=reason), health)
    assert shown == [
        "the GlobalPlanner does not lead",
        "0 of 8 GPUs charged, 0 at most so far",
        "problem: does not lead: it waits",
    ]


def test_the_plan_what_operators_set_and_what_waits_are_listed() -> None:
    plan = planner_pb2.RoutingPlan(term=7, version=3)
    plan.classes["chat"].prefill.share_by_pool.update({"a": 0.25, "b": 0.75})
    change = planner_pb2.Decision(
        at_s=61.0, pool_id="a", before_replicas=2, after_replicas=3, reason="more is offered",
        decision_id="7.4",
    )  # fmt: skip
    overrides = planner_pb2.Overrides(
        budget_gpus=6,
        gpus_by_class={"H200": 4},
        targets={"chat": planner_pb2.ClassTargets(ttft_s=0.5, priority=2)},
        frozen={"a": "night"},
        drained={"b": ""},
    )
    proposal = planner_pb2.Proposal(id="p1", changes=[change])
    answer = status(
        pools=[], plan=plan, overrides=overrides, proposals=[proposal], decisions=[change],
        mode="approve",
    )  # fmt: skip
    assert lines(answer)[0] == "the GlobalPlanner leads in term 7, mode approve"
    assert lines(answer)[2:] == [
        "",
        "routing plan 7.3",
        "  class  stage    goes to",
        "  chat   prefill  b 75%, a 25%",
        "",
        "set by operators",
        "  budget: 6 GPUs",
        "  GPUs of class H200: 4",
        "  class chat: ttft_s 0.5, priority 2",
        "  pool a is frozen: night",
        "  pool b is drained: no reason given",
        "",
        "waiting for approval",
        "  p1: a 2 -> 3: more is offered",
        "",
        "last changes",
        "  61 s  a 2 -> 3: more is offered (7.4)",
    ]


def test_json_has_every_field_and_null_for_what_is_unknown() -> None:
    shown = plain(status(overrides=planner_pb2.Overrides(frozen={"a": "night"})))
    assert shown["term"] == 7
    assert shown["pools"][1]["state"] is None
    assert shown["pools"][1]["report_age_s"] is None
    assert shown["pools"][1]["granted_replicas"] == 0
    assert shown["plan"] is None
    assert shown["overrides"]["frozen"] == {"a": "night"}
    assert shown["overrides"]["budget_gpus"] is None


def test_several_planners_are_named_with_commas() -> None:
    assert addresses("a:1, b:2") == ("a:1", "b:2")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--planner", "a:1,a:1"], "names an address twice"),
        (["--planner", "a:1,,b:2"], "is not HOST:PORT"),
        (["--timeout", "0"], "is not a number > 0"),
        (["--watch", "never"], "is not a number > 0"),
        (["--token-file", "nowhere"], "nowhere"),
        (["--ca", "nowhere.pem"], "cannot use CA certificates nowhere.pem"),
        (["--cert", "c.pem"], "give both or none"),
        (["--cert", "c.pem", "--key", "k.pem"], "needs the CA of the server"),
    ],
)
def test_options_that_cannot_be_used_are_refused_with_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_token_file_must_hold_one_token(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "token"
    path.write_text("two words")
    assert main(["status", "--token-file", str(path)]) == 2
    shown = capsys.readouterr().err
    assert f"{path} must hold one token" in shown
    assert "two words" not in shown
