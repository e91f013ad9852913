"""`weir what-if`: what it asks for, and how it shows the answer."""

import json
from typing import Any

import pytest

from weir.api.v1 import planner_pb2
from weir.cli import main, planner_client

Asked = list[tuple[str, Any]]

ANSWER = planner_pb2.WhatIfResponse(
    value=14.0,
    value_now=10.0,
    full_value=14.0,
    served_rps={"chat": 14.0},
    price_by_limit={"budget": 0.0},
    replicas_by_pool={"b": 1, "a": 3},
    lines=["1 more H200", "chat: 10.0 -> 14.0 rps within SLO of 14.0 offered"],
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    calls: Asked = []

    def ask(args: Any, method: str, request: Any) -> Any:
        calls.append((method, request))
        return ANSWER

    monkeypatch.setattr(planner_client, "ask", ask)
    return calls


@pytest.mark.parametrize(
    ("words", "more", "load"),
    [
        ("", {}, 1.0),
        ("--more H200=1 --load 1.5", {"H200": 1}, 1.5),
        ("--more H200=2 --more L40S=-4 --more H200=1", {"H200": 3, "L40S": -4}, 1.0),
    ],
)
def test_what_is_asked(asked: Asked, words: str, more: dict[str, int], load: float) -> None:
    assert main(["what-if", *words.split()]) == 0
    request = planner_pb2.WhatIfRequest(more_gpus_by_class=more, load_factor=load)
    assert asked == [("WhatIf", request)]


def test_the_answer_for_a_person_ends_with_the_replicas(
    asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["what-if"]) == 0
    assert capsys.readouterr().out.splitlines() == [*ANSWER.lines, "with replicas: a 3, b 1"]


def test_of_many_pools_the_first_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    many = planner_pb2.WhatIfResponse(replicas_by_pool={f"p{i:03d}": i for i in range(40)})
    monkeypatch.setattr(planner_client, "ask", lambda *_: many)
    assert main(["what-if"]) == 0
    assert capsys.readouterr().out.endswith("p011 11 and 28 more pools (--json has all)\n")


def test_json_has_everything(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["what-if", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["replicas_by_pool"] == {"a": 3, "b": 1}
    assert answer["price_by_limit"] == {"budget": 0.0}


@pytest.mark.parametrize("words", ["--more H200", "--more =1", "--more H200=0", "--more H200=x",
                                   "--load 0"])  # fmt: skip
def test_what_cannot_be_meant_is_refused(asked: Asked, words: str) -> None:
    assert main(["what-if", *words.split()]) == 2
    assert asked == []
