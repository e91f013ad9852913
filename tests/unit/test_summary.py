"""The run summary's schema: counters add up, nothing unknown gets in."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from weir.summary import RunSummary


def fields(**changes: Any) -> dict[str, Any]:
    return {
        "requests": 10,
        "completed": 7,
        "failed": 1,
        "shed": 1,
        "cancelled": 1,
        "infeasible": 0,
        "attainment": 0.7,
        "ttft_p50_s": 0.2,
        "ttft_p99_s": 0.9,
        "itl_p50_s": 0.02,
        "itl_p99_s": 0.04,
        "goodput_rps": 0.5,
        "weighted_goodput_rps": 1.5,
        "gpu_hours": 0.25,
        "budget_gpus": 8,
        "peak_charged_gpus": 6,
        "budget_violations": 0,
        "scale_ups": 2,
        "scale_downs": 1,
        "pools": {
            "decode": {
                "role": "decode",
                "replicas_min": 1,
                "replicas_max": 3,
                "replicas_final": 2,
                "requests": 10,
            }
        },
        "classes": {"chat": {"requests": 10, "infeasible": 0, "attainment": 0.7}},
        "timeline": [{"start_s": 60.0, "requests": 10, "attainment": 0.7}],
        "wall_s": 12.0,
        "cpu_s": 9.0,
        **changes,
    }


def test_a_summary_survives_json() -> None:
    summary = RunSummary(**fields())
    text = summary.model_dump_json()
    assert RunSummary.model_validate_json(text) == summary
    assert json.loads(text)["schema_version"] == 1


def test_outcomes_must_add_up_to_the_requests() -> None:
    with pytest.raises(ValidationError, match="10 requests, but 9 ended"):
        RunSummary(**fields(completed=6))


def test_unknown_values_are_null_and_never_nan() -> None:
    assert RunSummary(**fields(attainment=None, ttft_p50_s=None)).attainment is None
    with pytest.raises(ValidationError):
        RunSummary(**fields(attainment=float("nan")))
