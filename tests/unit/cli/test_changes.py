"""The commands that change a running fleet: what they ask for, and how they show the answer."""

import json
from typing import Any

import pytest

from weir.api.v1 import planner_pb2
from weir.cli import main, planner_client

Asked = list[tuple[str, Any]]

ANSWER = planner_pb2.SetResponse(
    applied=True,
    lines=["budget: 64 -> 48 GPUs"],
    value_before=12.0,
    value_after=10.04,
    served_after_rps={"chat": 10.0},
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Calls instead of a GlobalPlanner that answers them."""
    calls: Asked = []

    def ask(args: Any, method: str, request: Any) -> Any:
        calls.append((method, request))
        if method == "Approve":
            return planner_pb2.ApproveResponse(lines=["pool a: 1 -> 3"])
        return ANSWER

    monkeypatch.setattr(planner_client, "ask", ask)
    return calls


@pytest.mark.parametrize(
    ("words", "method", "request_"),
    [
        ("budget 48", "SetBudget", planner_pb2.SetBudgetRequest(gpus=48)),
        (
            "budget --gpu-class H100=16 --gpu-class A100=0 --dry-run",
            "SetBudget",
            planner_pb2.SetBudgetRequest(gpus_by_class={"H100": 16, "A100": 0}, dry_run=True),
        ),
        ("budget --reset", "SetBudget", planner_pb2.SetBudgetRequest()),
        (
            "slo chat --ttft-ms 800 --itl-ms 25 --weight 2 --priority -3",
            "SetSlo",
            planner_pb2.SetSloRequest(
                class_name="chat",
                targets=planner_pb2.ClassTargets(ttft_s=0.8, itl_s=0.025, weight=2.0, priority=-3),
            ),
        ),
        (
            "slo chat --priority 0",
            "SetSlo",
            planner_pb2.SetSloRequest(
                class_name="chat", targets=planner_pb2.ClassTargets(priority=0)
            ),
        ),
        (
            "slo chat --reset",
            "SetSlo",
            planner_pb2.SetSloRequest(class_name="chat", targets=planner_pb2.ClassTargets()),
        ),
        ("freeze a --why w", "Freeze", planner_pb2.FreezeRequest(pool_id="a", why="w")),
        ("freeze --all --thaw", "Freeze", planner_pb2.FreezeRequest(thaw=True)),
        (
            "drain a --undo --dry-run",
            "Drain",
            planner_pb2.DrainRequest(pool_id="a", undo=True, dry_run=True),
        ),
        ("approve 3fa29c", "Approve", planner_pb2.ApproveRequest(proposal_id="3fa29c")),
        (
            "approve 3fa29c --reject",
            "Approve",
            planner_pb2.ApproveRequest(proposal_id="3fa29c", reject=True),
        ),
    ],
)
def test_a_command_asks_for_what_it_was_told(
    asked: Asked, words: str, method: str, request_: Any
) -> None:
    assert main(words.split()) == 0
    assert asked == [(method, request_)]


@pytest.mark.parametrize(
    "words",
    [
        "budget",
        "budget 48 --reset",
        "budget -- -1",
        "budget many",
        "budget --gpu-class H100",
        "budget --gpu-class H100=few",
        "slo chat",
        "slo chat --reset --weight 2",
        "slo chat --ttft-ms 0",
        "slo chat --ttft-ms nan",
        "slo chat --priority 99999999999",
        "freeze",
        "freeze a --all",
        "drain",
        "approve --reject",
    ],
)
def test_a_command_that_makes_no_sense_asks_for_nothing(
    asked: Asked, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    assert asked == []
    assert capsys.readouterr().err


def test_the_answer_is_told_in_lines(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    main(["budget", "48"])
    assert capsys.readouterr().out == (
        "budget: 64 -> 48 GPUs\nweighted requests/s within SLO: 12.0 -> 10.0\ndone\n"
    )


def test_the_answer_is_one_object_with_json(
    asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["budget", "48", "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert shown["applied"] is True
    assert shown["served_after_rps"] == {"chat": 10.0}
