"""Change the offered rate of a trace without changing its shape."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from weir.workload.trace import TraceRequest

__all__ = ["scale_rate"]


def scale_rate(
    requests: Sequence[TraceRequest], factor: float, seed: int = 0
) -> list[TraceRequest]:
    """`requests` (in order of time) at `factor` times their rate; the same seed, the same result.

    Below 1 each request is kept with that probability; above, copies are added at random
    instants before the next request, so that rates over longer windows keep their curve and
    copies do not arrive together.

    Raises `ValueError` if `factor` is not a finite number above 0.
    """
    if not 0.0 < factor < math.inf:
        raise ValueError(f"factor must be a finite number > 0, not {factor}")
    if factor == 1.0:
        return list(requests)
    whole, share = int(factor), factor - int(factor)
    generator = random.Random(seed)
    scaled: list[TraceRequest] = []
    for request, gap_s in zip(requests, _gaps_s(requests), strict=True):
        copies = whole + (generator.random() < share)
        shifts_s = [generator.uniform(0.0, gap_s) for _ in range(max(0, copies - 1))]
        if copies:
            scaled.append(request)
        scaled.extend(
            replace(request, timestamp_s=request.timestamp_s + shift_s) for shift_s in shifts_s
        )
    return sorted(scaled, key=lambda request: request.timestamp_s)


def _gaps_s(requests: Sequence[TraceRequest]) -> list[float]:
    """Seconds from each request to the next; the last has the mean gap."""
    gaps_s = [after.timestamp_s - before.timestamp_s for before, after in pairwise(requests)]
    return [*gaps_s, sum(gaps_s) / len(gaps_s) if gaps_s else 0.0][: len(requests)]
