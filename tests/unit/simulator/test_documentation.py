"""The manual names what there is: options, policies, faults, fields."""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.results import CASES, LEVELS, Contended, table, written
from weir.cli import simulate_options
from weir.fleet import load
from weir.simulator.faults import FAULTS
from weir.simulator.inputs import Inputs
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
    begin, end = "<!-- make results: begin days -->", "<!-- make results: end days -->"
    document = f"before\n{begin}\nold\n{end}\nafter\n"
    assert written(document, "days", "new") == f"before\n{begin}\nnew\n{end}\nafter\n"
    with pytest.raises(ValueError, match="no lines"):
        written(document, "contended", "new")


def test_contended_has_the_said_part_of_the_gpus_that_its_load_needs() -> None:
    # The last level has just enough: all that is offered could be served, with one GPU less not.
    needed = LEVELS[-1].gpus
    for level in LEVELS:
        assert level.gpus == round(needed * level.percent / 100)
        assert level.of_a_class / level.gpus == pytest.approx(4 / 7, abs=0.01)
    fewer = replace(LEVELS[-1], gpus=needed - 1)
    shares = [_bound_of_offered(level) for level in (LEVELS[-1], fewer)]
    assert shares[0] == pytest.approx(1.0, abs=1e-6)
    assert shares[1] < 1.0 - 1e-6


def _bound_of_offered(level: Contended) -> float:
    fleet, _, trace, *rest = level.arguments
    sets = [rest[i + 1] for i, word in enumerate(rest) if word == "--set"]
    lengths = trace.replace("lengths=", f"lengths={ROOT}/")
    inputs = Inputs(loaded=load(ROOT / fleet, sets), trace=lengths, rate_scale=1.0, warmup_s=180.0)
    scenario = inputs.scenario(0)
    counted = scenario.columns.timestamp_s >= scenario.count_from_s
    weights = np.array([item.weight for item in scenario.fleet.classes])
    offered = float(weights[scenario.class_index[counted & scenario.feasible]].sum())
    return scenario.weighted_goodput_bound_rps * (scenario.end_s - scenario.count_from_s) / offered


def test_a_row_of_contended_says_how_far_from_the_bound_it_is() -> None:
    summary = {
        "requests": 1000, "weighted_goodput_rps": 95.0, "weighted_goodput_bound_rps": 100.0,
        "classes": {"interactive": {"attainment": 0.5}, "bulk": {"attainment": None}},
        "ttft_p99_s": 1.25, "itl_p99_s": 0.05, "peak_charged_gpus": 46, "shed": 1234,
    }  # fmt: skip
    lines = list(LEVELS[0].table({"weir": summary}))
    assert lines[0] == "### contended at 60 % of the needed GPUs"
    assert "| weir | 95.0/s | 95.0% | 50.00% | – | 1.25 s | 50 ms | 46 | 1,234 |" in lines


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
