"""The report's page: the summary, the charts and the decisions in one file that needs no other."""

import html
import importlib
import json
from collections.abc import Iterator

from weir.domain.errors import WeirError
from weir.simulator.journal import Step
from weir.simulator.report.charts import MOST_CLASSES, charts
from weir.simulator.report.figures import Figure
from weir.simulator.report.recording import Recording
from weir.simulator.run import Outcome
from weir.simulator.summary import SimulationSummary
from weir.simulator.summary_text import summary_text

__all__ = ["plotly_script", "report_html"]

_MOST_ROWS = 2000
_STYLE = """\
body { font-family: system-ui, sans-serif; margin: 1.5rem auto; max-width: 75rem; color: #222; }
pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; }
td, th { text-align: left; padding: 0.2rem 0.8rem 0.2rem 0; border-bottom: 1px solid #e5e5e5;
  vertical-align: top; }
"""


def plotly_script() -> str:
    """Plotly itself. Raises `WeirError` if it is not installed."""
    try:
        offline = importlib.import_module("plotly.offline")
    except ImportError:
        raise WeirError("--report needs plotly; install it: pip install 'weir[report]'") from None
    return str(offline.get_plotlyjs())


def report_html(
    outcome: Outcome, summary: SimulationSummary, recording: Recording, script: str
) -> str:
    """`script`: Plotly's own, put into the page so that it works without a network."""
    title = html.escape(f"{summary.fleet} under {summary.policy}")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            f'<head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>',
            f"<script>{script}</script></head>",
            f"<body><h1>{title}</h1>",
            f"<pre>{html.escape(summary_text(summary))}</pre>",
            *_notes(outcome),
            *_drawn(charts(outcome, recording)),
            *_decisions(outcome.world.journal.steps),
            *_faults(recording),
            "</body></html>\n",
        ]
    )


def _notes(outcome: Outcome) -> Iterator[str]:
    if len(outcome.world.fleet.classes) > MOST_CLASSES:
        yield f"<p>Only the {MOST_CLASSES} classes with the most requests are drawn.</p>"


def _drawn(figures: Iterator[Figure]) -> Iterator[str]:
    for number, chart in enumerate(figures):
        data = _embedded({**chart, "config": {"responsive": True, "displaylogo": False}})
        yield f'<div id="chart-{number}"></div>'
        yield f'<script type="application/json" id="data-{number}">{data}</script>'
        yield (
            f'<script>Plotly.newPlot("chart-{number}", '
            f'JSON.parse(document.getElementById("data-{number}").textContent))</script>'
        )


def _embedded(value: Figure) -> str:
    """JSON that cannot end the element it is in."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _decisions(steps: list[Step]) -> Iterator[str]:
    rows = (
        (f"{step.at_s:.1f}", str(step.pool_id), f"{step.before} → {step.after}", step.reason)
        for step in steps[:_MOST_ROWS]
    )
    yield "<h2>Decisions</h2>"
    yield from _table(("s", "pool", "replicas", "reason"), rows)
    if len(steps) > _MOST_ROWS:
        yield f"<p>and {len(steps) - _MOST_ROWS} more: --events has all of them.</p>"


def _faults(recording: Recording) -> Iterator[str]:
    if not recording.faults:
        return
    rows = (
        (f"{event['at_s']:.1f}", json.dumps({k: event[k] for k in event if k not in _PLAIN}))
        for event in recording.faults[:_MOST_ROWS]
    )
    yield "<h2>Faults</h2>"
    yield from _table(("s", "fault"), rows)


_PLAIN = ("at_s", "event")


def _table(header: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"<table><tr>{''.join(f'<th>{html.escape(cell)}</th>' for cell in header)}</tr>"
    for row in rows:
        yield f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>"
    yield "</table>"
