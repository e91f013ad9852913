"""Figures in Plotly's JSON: lines, areas and their layout."""

import html
from collections.abc import Sequence
from typing import Any

__all__ = ["Figure", "area", "band", "color", "figure", "label", "level", "line", "markers"]

Figure = dict[str, Any]
Trace = dict[str, Any]
Values = Sequence[float | int | None]

_COLORS = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22",
    "#3b4cc0", "#b8860b", "#006d5b", "#7f7f7f",
)  # fmt: skip
_GRID = "#e5e5e5"
_LIMIT = "#c00000"
_HEIGHT = 340


def color(index: int) -> str:
    return _COLORS[index % len(_COLORS)]


def label(text: str) -> str:
    """Plotly reads markup in texts: names and reasons have none."""
    return html.escape(text)


def line(name: str, x: Values, y: Values, *, stroke: str, **more: Any) -> Trace:
    """`step=True` holds a value until the next; other extras go to Plotly as they are."""
    shape = "hv" if more.pop("step", False) else "linear"
    style = {"color": stroke, "width": more.pop("width", 1.5), "shape": shape}
    if dash := more.pop("dash", None):
        style["dash"] = dash
    return {
        "type": "scatter", "mode": "lines", "name": label(name), "x": list(x), "y": list(y),
        "line": style, **more,
    }  # fmt: skip


def area(name: str, x: Values, y: Values, *, stroke: str, stack: str, **more: Any) -> Trace:
    """On top of the earlier areas of the same stack."""
    return line(name, x, y, stroke=stroke, width=0.5, step=True, stackgroup=stack, **more)


def band(name: str, x: Values, low: Values, high: Values, *, stroke: str) -> list[Trace]:
    """Between two lines that are not drawn themselves."""
    return [
        line(f"{name}, low", x, low, stroke=stroke, width=0, showlegend=False),
        line(name, x, high, stroke=stroke, width=0, fill="tonexty"),
    ]


def level(name: str, x: Values, y: float, **more: Any) -> Trace:
    """A limit, from the first to the last x."""
    ends = [x[0], x[-1]] if x else []
    return line(name, ends, [y] * len(ends), stroke=_LIMIT, dash="dash", width=1, **more)


def markers(name: str, x: Values, y: Values, texts: Sequence[str], *, stroke: str) -> Trace:
    """Points that say their text when pointed at."""
    return {
        "type": "scatter", "mode": "markers", "name": label(name), "x": list(x), "y": list(y),
        "text": [label(text) for text in texts], "hoverinfo": "text+x",
        "marker": {"color": stroke, "size": 6, "symbol": "diamond"}, "showlegend": False,
    }  # fmt: skip


def figure(title: str, traces: Sequence[Trace], y_title: str, **y_axis: Any) -> Figure:
    """Time of the trace in minutes to the right."""
    axis = {"gridcolor": _GRID, "zeroline": False, "rangemode": "tozero"}
    return {
        "data": list(traces),
        "layout": {
            "title": {"text": label(title), "font": {"size": 15}, "x": 0.01},
            "height": _HEIGHT,
            "margin": {"l": 60, "r": 20, "t": 40, "b": 40},
            "paper_bgcolor": "white",
            "plot_bgcolor": "white",
            "font": {"family": "system-ui, sans-serif", "size": 12},
            "hovermode": "x unified",
            "xaxis": {"title": {"text": "minutes of the trace"}, "gridcolor": _GRID},
            "yaxis": {"title": {"text": label(y_title)}, **axis, **y_axis},
        },
    }
