"""Several policies on one scenario, side by side."""

from collections.abc import Mapping

from weir.simulator.summary import SimulationSummary
from weir.simulator.summary_text import finer_percent, number
from weir.text import ms, table

__all__ = ["comparison_text"]


def comparison_text(summaries: Mapping[str, SimulationSummary]) -> str:
    """Several policies side by side."""
    header = (
        "policy", "attainment", "lowest class", "TTFT p99", "ITL p99", "GPU-hours", "to oracle",
        "steps", "churn", "shed", "violations", "CPU",
    )  # fmt: skip
    return "\n".join(table(header, (_compared(name, s) for name, s in summaries.items())))


def _compared(name: str, summary: SimulationSummary) -> tuple[str, ...]:
    return (
        name,
        finer_percent(summary.attainment),
        finer_percent(summary.attainment_lowest),
        ms(summary.ttft_p99_s),
        ms(summary.itl_p99_s),
        f"{summary.gpu_hours:.2f}",
        number(summary.ratio_to_oracle),
        str(summary.scaling_steps),
        number(summary.churn),
        str(summary.shed),
        str(summary.invariant_violations),
        f"{summary.cpu_s:.1f} s",
    )
