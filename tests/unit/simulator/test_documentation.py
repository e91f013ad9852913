"""The manual names what there is: options, policies, faults, fields."""

import argparse
from pathlib import Path

import pytest

from tests.benchmarks.results import CASES, table, written
from weir.cli import simulate_options
from weir.simulator.faults import FAULTS
from weir.simulator.policies import POLICIES
from weir.simulator.summary import SimulatedClass, SimulatedPool, SimulationSummary

ROOT = Path(__file__).parents[3]
MANUAL = (ROOT / "docs/reference/simulate.md").read_text()
SUMMARY = (ROOT / "docs/reference/run-summary.md").read_text()


def test_the_manual_names_every_option() -> None:
    parser = argparse.ArgumentParser()
    simulate_options.configure(parser)
    options = {text for action in parser._actions for text in action.option_strings}
    assert [text for text in sorted(options - {"-h", "--help"}) if f"`{text}" not in MANUAL] == []


@pytest.mark.parametrize("names", [POLICIES, FAULTS], ids=["policies", "faults"])
def test_the_manual_names_every_policy_and_fault(names: dict[str, object]) -> None:
    assert [name for name in names if f"`{name}`" not in MANUAL] == []


def test_the_summarys_reference_names_every_field() -> None:
    fields = [
        name
        for model in (SimulationSummary, SimulatedPool, SimulatedClass)
        for name in model.model_fields
        if not name.startswith(("ttft_p", "itl_p"))
    ]
    assert [name for name in fields if f"`{name}`" not in SUMMARY] == []


def test_the_documented_traces_are_there() -> None:
    for case in CASES:
        fleet, _, trace, *_ = case.arguments
        assert (ROOT / fleet).is_file()
        assert (ROOT / trace).is_file()


def test_results_go_between_their_markers_and_leave_the_rest() -> None:
    begin, end = "<!-- make results: begin -->", "<!-- make results: end -->"
    document = f"before\n{begin}\nold\n{end}\nafter\n"
    assert written(document, "new") == f"before\n{begin}\nnew\n{end}\nafter\n"
    with pytest.raises(ValueError, match="no lines"):
        written("nothing", "new")


def test_a_row_says_what_is_not_known() -> None:
    summary = {
        "requests": 1000, "infeasible": 2, "gpu_hours_bound": 9.0, "gpu_hours_floor": 8.0,
        "attainment": None,
        "attainment_lowest": 0.5, "ttft_p99_s": 1.25, "itl_p99_s": None, "gpu_hours": 10.0,
        "ratio_to_oracle": 10 / 9, "scaling_steps": 3, "churn": None, "shed": 1234,
    }  # fmt: skip
    lines = list(table(CASES[0], {"hpa": summary}))
    assert lines[0] == "### disagg on alibaba_large_d4"
    assert lines[2].endswith("--rate-scale 10 --policy POLICY`")
    assert "| hpa | – | 50.00% | 1.25 s | – | 10.0 | 1.11 | 3 | – | 1,234 |" in lines
