"""The airline's burst in virtual time: how soon it is met, with how much, and what is given back.

The end-to-end tests play it with processes, whose engines are slower where the machine is busy.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_runs import burst_at_s
from weir.cli import main

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TRACE = EXAMPLES / "traces/airline_burst.csv"
LASTS_S = 60.0
INTERVAL_S = 2.0


@pytest.fixture
def events(seed: int, tmp_path: Path) -> list[dict[str, Any]]:
    file = tmp_path / "events.jsonl"
    fleet = str(EXAMPLES / "fleets/airline.yaml")
    arguments = ["--trace", str(TRACE), "--seed", str(seed), "--events", str(file), "--json"]
    assert main(["simulate", fleet, *arguments]) == 0
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("seed", range(4))
def test_the_burst_takes_exactly_a_second_prefill_replica_soon_and_gives_it_back(
    events: list[dict[str, Any]],
) -> None:
    burst_s = burst_at_s(TRACE)
    steps = [event for event in events if event["event"] == "step"]
    met = [step for step in steps if step["at_s"] < burst_s + LASTS_S]
    assert [(step["pool"], step["before"], step["after"]) for step in met] == [("prefill", 1, 2)]
    assert burst_s < met[0]["at_s"] <= burst_s + 4 * INTERVAL_S
    ready = [event["at_s"] for event in events if event.get("phase") == "ready"]
    assert min(at_s for at_s in ready if at_s > burst_s) <= burst_s + 20.0
    assert {step["pool"] for step in steps} == {"prefill"}
    assert steps[-1]["after"] == 1
