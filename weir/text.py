"""Results as text for people: numbers with their units, and tables."""

from collections.abc import Iterable, Sequence

from weir.summary import RunSummary

__all__ = [
    "UNKNOWN",
    "count",
    "ms",
    "per_second",
    "percent",
    "requests_text",
    "table",
]

UNKNOWN = "–"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """One line each, columns aligned, without trailing blanks."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def requests_text(summary: RunSummary) -> list[str]:
    """How a run's requests went, one line each."""
    return [
        f"requests    {summary.requests}: {summary.completed} completed, "
        f"{summary.failed} failed, {summary.shed} shed, {summary.cancelled} cancelled; "
        f"{summary.infeasible} infeasible",
        f"attainment  {percent(summary.attainment)}, goodput {per_second(summary.goodput_rps)}",
        f"TTFT        p50 {ms(summary.ttft_p50_s)}, p99 {ms(summary.ttft_p99_s)}",
        f"ITL         p50 {ms(summary.itl_p50_s)}, p99 {ms(summary.itl_p99_s)}",
    ]


def count(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)


def ms(value_s: float | None) -> str:
    return UNKNOWN if value_s is None else f"{value_s * 1000:.0f} ms"


def percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share:.1%}"


def per_second(value_rps: float | None) -> str:
    return UNKNOWN if value_rps is None else f"{value_rps:.2f} req/s"
