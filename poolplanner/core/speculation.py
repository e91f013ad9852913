"""How many tokens sequences get of one iteration, as a Prometheus has scraped it of engines.

Some libraries write `_` for the `:` in names when they are asked for OpenMetrics.
"""

from collections.abc import Iterable
from itertools import pairwise

from poolplanner.core.buckets import increase
from poolplanner.core.engine_names import ENGINES
from poolplanner.core.promql import Series

__all__ = ["ACCEPT_NAMES", "accept_length"]

_COUNTED = tuple(engine.accepted for engine in ENGINES if engine.accepted is not None)
_SHOWN = frozenset(name for engine in ENGINES for name in engine.accept_length)
_NAMES = sorted({*_SHOWN, *(name for pair in _COUNTED for name in pair)})
_BY_SPELLING = {name.replace(":", "_"): name for name in _NAMES}
ACCEPT_NAMES = tuple(dict.fromkeys([*_NAMES, *_BY_SPELLING]))
"""What is asked for."""


def accept_length(answer: Iterable[Series]) -> float | None:
    """Over all engines; None where nobody tells. Raises nothing: odd values are left out.

    vLLM counts drafts and what of them was accepted: one token more than that comes of each.
    Others show the mean, and 0 where they do not speculate.
    """
    gained: dict[str, float] = {}
    shown: list[float] = []
    for series in answer:
        name = _BY_SPELLING.get(series.labels.get("__name__", "").replace(":", "_"), "")
        if name in _SHOWN:
            shown += [value for _, value in series.points[-1:] if value >= 1.0]
            continue
        steps = pairwise(value for _, value in series.points)
        gained[name] = gained.get(name, 0.0) + sum(increase(*step) for step in steps)
    for accepted, drafts in _COUNTED:
        if gained.get(drafts):
            return 1.0 + gained.get(accepted, 0.0) / gained[drafts]
    return sum(shown) / len(shown) if shown else None
