"""Predictors as the document wants them, with a trace to begin with if it names one."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from globalplanner.core.load.predicted import Predicted
from globalplanner.parts import predicted_of
from weir.domain.classify import OfTenant, classify
from weir.domain.errors import TraceError
from weir.domain.fleet import Fleet, RequestClass
from weir.domain.ids import ClassName
from weir.fleet import LoadedFleet
from weir.forecast.samples import Sample
from weir.runtime.clock import Clock
from weir.workload import read_trace

__all__ = ["predicted_for", "rates_of"]

_log = logging.getLogger("weir.globalplanner")

_JSON = (".jsonl", ".ndjson", ".json")
_Request = tuple[float, float, float, str]
"""When it came (seconds), ISL, OSL, and its tenant, if it has one."""


async def predicted_for(fleet: Fleet, loaded: LoadedFleet, clock: Clock) -> Predicted | None:
    """What is planned of the document's fleet is `fleet`. None if the trend is what is forecast by.

    Raises `TraceError`.
    """
    settings = loaded.planner
    predicted = predicted_of(fleet, settings)
    if predicted is None or settings.forecast.warmup_trace is None:
        return predicted
    path = loaded.path.parent / settings.forecast.warmup_trace
    window_s, end_s = settings.forecast.window_s, clock.now_s()
    rates = await asyncio.to_thread(rates_of, path, fleet.classes, window_s=window_s, end_s=end_s)
    predicted.warm_up(rates)
    windows = max(map(len, rates.values()))
    _log.info("learned from %s: %d windows of %g s", path, windows, window_s)
    return predicted


def rates_of(
    path: Path, classes: Sequence[RequestClass], *, window_s: float, end_s: float
) -> Mapping[ClassName, Sequence[Sample]]:
    """Mean rates over whole windows of the trace, the last of which ends at `end_s`.

    CSV as `weir simulate` reads it, or JSON lines with `timestamp` (milliseconds),
    `input_length` and `output_length`. Raises `TraceError`.
    """
    requests = _json_lines(path) if path.suffix in _JSON else _csv(path)
    counts: dict[ClassName, Counter[int]] = {item.name: Counter() for item in classes}
    last = -1
    for at_s, isl_tokens, osl_tokens, tenant in requests:
        window = int(at_s // window_s)
        last = max(last, window)
        name = classify(classes, isl_tokens, osl_tokens, OfTenant(tenant)).name
        counts[name][window] += 1
    return {
        name: [
            Sample(end_s - (last - 1 - window) * window_s, count[window] / window_s, window_s)
            for window in range(last)  # the last one may be cut off
        ]
        for name, count in counts.items()
    }


def _csv(path: Path) -> Iterator[_Request]:
    for request in read_trace(path):
        lengths = request.isl_tokens, request.osl_tokens
        yield request.timestamp_s, *lengths, request.tenant or ""


def _json_lines(path: Path) -> Iterator[_Request]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            times = row["timestamp"] / 1e3, row["input_length"], row["output_length"]
            at_s, isl_tokens, osl_tokens = map(float, times)
        except (ValueError, KeyError, TypeError) as error:
            wanted = "timestamp, input_length and output_length as numbers"
            raise TraceError(str(path), number, f"needs {wanted}: {error!r}") from None
        if not 0.0 <= at_s < 1e9:
            raise TraceError(str(path), number, f"timestamp {row['timestamp']} is out of range")
        yield at_s, isl_tokens, osl_tokens, ""


def _lines(path: Path) -> Iterable[str]:
    try:
        return path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(str(path), 0, f"cannot be read: {error}") from None
