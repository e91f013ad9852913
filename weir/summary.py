"""The run summary: what `weir up --json` prints, and any other run of a fleet.

docs/reference/run-summary.md says what each field means and when it is null.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["SCHEMA_VERSION", "ClassSummary", "PoolSummary", "RunSummary", "SpanSummary"]

SCHEMA_VERSION: Final = 1

Tally = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]


class _Strict(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class PoolSummary(_Strict):
    """One pool; replica counts are those ready, from when the fleet first was."""

    role: Literal["prefill", "decode", "agg"]
    replicas_min: Tally | None
    replicas_max: Tally | None
    replicas_final: Tally | None
    requests: Tally | None
    """Legs that the router sent to the pool, other clients' included; null if unknown."""


class ClassSummary(_Strict):
    """Requests of one class by their true lengths."""

    requests: Tally
    infeasible: Tally
    attainment: Share | None
    """As for the whole run; null if the class had no feasible request."""


class SpanSummary(_Strict):
    """Requests that arrived in one minute of the trace."""

    start_s: NonNegative
    requests: Tally
    attainment: Share | None


class RunSummary(_Strict):
    """Times and GPU-hours in model time, `wall_s` and `cpu_s` not. Null is unknown."""

    schema_version: Literal[1] = SCHEMA_VERSION
    requests: Tally
    """Requests submitted; completed + failed + shed + cancelled."""
    completed: Tally
    failed: Tally
    shed: Tally
    cancelled: Tally
    infeasible: Tally
    """Requests whose prompt an idle replica could not serve in time."""
    attainment: Share | None
    """Share of feasible requests that met their TTFT and their mean-ITL target."""
    ttft_p50_s: NonNegative | None
    ttft_p99_s: NonNegative | None
    itl_p50_s: NonNegative | None
    itl_p99_s: NonNegative | None
    goodput_rps: NonNegative | None
    """Requests that met their SLO per model second of submission."""
    weighted_goodput_rps: NonNegative | None
    """The same, each request counted by the weight of its class."""
    gpu_hours: NonNegative
    budget_gpus: Tally
    peak_charged_gpus: Tally
    budget_violations: Tally
    scale_ups: Tally
    """Replicas started on a planner's command after the fleet was first ready."""
    scale_downs: Tally
    pools: Mapping[str, PoolSummary]
    classes: Mapping[str, ClassSummary]
    timeline: list[SpanSummary]
    """Minute by minute, so that a burst shows apart; minutes without requests are left out."""
    wall_s: NonNegative
    cpu_s: NonNegative
    """CPU seconds of all processes of the run."""

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        ended = self.completed + self.failed + self.shed + self.cancelled
        if ended != self.requests:
            raise ValueError(f"{self.requests} requests, but {ended} ended")
        return self
