"""From what a user gives to a scenario: the trace, its rate, and the part that is simulated."""

from dataclasses import dataclass
from math import floor
from pathlib import Path

from weir.domain.errors import WeirError
from weir.fleet import LoadedFleet
from weir.simulator.scenario import Scenario
from weir.workload import superpose, workload_of
from weir.workload.columns import TraceColumns

__all__ = ["Inputs"]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All of a scenario but its seed. What is None comes from the fleet or from the trace."""

    loaded: LoadedFleet
    trace: str | Path | None = None
    """A file or a recipe, see docs/reference/traces.md."""
    rate_scale: float | None = None
    tenant_column: str | None = None
    from_s: float | None = None
    to_s: float | None = None
    warmup_s: float = 0.0

    def scenario(self, seed: int) -> Scenario:
        """Raises `WeirError` if there is nothing to simulate."""
        columns = workload_of(self._source(), seed=seed, tenant_column=self.tenant_column)
        start_s, end_s = self._window(columns)
        rate_scale = self.rate_scale or self.loaded.workload.rate_scale
        scaled = superpose(columns, rate_scale, seed, start_s=start_s, end_s=end_s)
        count_from_s = start_s + self.warmup_s
        if not len(scaled) or scaled.timestamp_s[-1] < count_from_s:
            raise WeirError(
                f"{self._source()}: no request from {count_from_s:g} s to {end_s:g} s "
                f"at rate scale {rate_scale:g}; {_extent(columns)}"
            )
        return Scenario.of(
            self.loaded,
            scaled,
            seed=seed,
            start_s=start_s,
            end_s=end_s,
            warmup_s=self.warmup_s,
            tenants=self.tenant_column is not None,
        )

    def _source(self) -> str | Path:
        source = self.trace or self.loaded.workload.trace
        if source is None:
            raise WeirError(f"{self.loaded.path}: the fleet names no trace; give one with --trace")
        return source

    def _window(self, columns: TraceColumns) -> tuple[float, float]:
        first_s, end_s = _ends(columns)
        start_s = first_s if self.from_s is None else self.from_s
        end_s = end_s if self.to_s is None else self.to_s
        if start_s >= end_s:
            raise WeirError(f"--from {start_s:g} is not before --to {end_s:g}; {_extent(columns)}")
        if self.warmup_s >= end_s - start_s:
            raise WeirError(
                f"--warmup {self.warmup_s:g} leaves nothing of the {end_s - start_s:g} s from "
                f"{start_s:g} s to {end_s:g} s"
            )
        return start_s, end_s


def _ends(columns: TraceColumns) -> tuple[float, float]:
    """Whole seconds around the trace and one mean gap after it."""
    first_s, last_s = float(columns.timestamp_s[0]), float(columns.timestamp_s[-1])
    gap_s = (last_s - first_s) / max(1, len(columns) - 1)
    return float(floor(first_s)), float(floor(last_s + gap_s) + 1)


def _extent(columns: TraceColumns) -> str:
    times_s = columns.timestamp_s
    return f"the trace goes from {times_s[0]:g} s to {times_s[-1]:g} s"
