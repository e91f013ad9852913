"""What became of the calls, in bounded memory: counts and histograms, none per token.

Ends are collected in a buffer and folded in many at a time. Histograms have the buckets of
`weir.domain.histogram` (4 % wide). Only calls that arrived in the counted time are in it.
"""

from collections.abc import Sequence
from math import log

import numpy as np
from numpy.typing import NDArray

from weir.domain.fleet import Fleet, RequestClass
from weir.domain.ids import PoolId
from weir.simulator.call import Call, End

__all__ = ["SPAN_S", "Recorder", "mean_s", "quantile_s"]

SPAN_S = 60.0
"""Length of one entry of the timeline."""

_GROWTH = 1.04
_SMALLEST_S = 1e-4
_BUCKETS = 420
_BUFFER = 32_768
_NAN = float("nan")

Counts = NDArray[np.int64]


def quantile_s(histogram: Counts, q: float) -> float | None:
    """Upper edge of the bucket that holds quantile `q` (0..1); None of nothing."""
    total = int(histogram.sum())
    if not total:
        return None
    bucket = int(np.searchsorted(histogram.cumsum(), q * total))
    return float(_SMALLEST_S * _GROWTH**bucket)


def mean_s(histogram: Counts) -> float | None:
    """Of all values, each taken to be in the middle of its bucket; None of nothing."""
    total = int(histogram.sum())
    if not total:
        return None
    middles = _SMALLEST_S * _GROWTH ** np.arange(len(histogram)) * (1.0 + 1.0 / _GROWTH) / 2.0
    return float(histogram @ middles) / total


class Tally:
    """Counts of one kind of group (class, pool, span), shape (groups,) or (groups, buckets)."""

    def __init__(self, groups: int, *, latencies: bool = True) -> None:
        self.requests: Counts = np.zeros(groups, np.int64)
        self.infeasible: Counts = np.zeros(groups, np.int64)
        self.judged: Counts = np.zeros(groups, np.int64)
        self.met: Counts = np.zeros(groups, np.int64)
        self.ends: Counts = np.zeros((groups, len(End)), np.int64)
        buckets = _BUCKETS if latencies else 0
        self.ttft: Counts = np.zeros((groups, buckets), np.int64)
        self.itl: Counts = np.zeros((groups, buckets), np.int64)

    def add(self, group: NDArray[np.intp], batch: "_Batch") -> None:
        """Fold in a batch; a negative group is none."""
        size = len(self.requests)
        some = group >= 0
        self.requests += np.bincount(group[some], minlength=size)
        self.infeasible += np.bincount(group[some & ~batch.feasible], minlength=size)
        self.judged += np.bincount(group[some & batch.feasible], minlength=size)
        self.met += np.bincount(group[some & batch.met], minlength=size)
        ends = np.bincount(group[some] * len(End) + batch.end[some], minlength=size * len(End))
        self.ends += ends.reshape(size, len(End))
        for histogram, bucket in ((self.ttft, batch.ttft_bucket), (self.itl, batch.itl_bucket)):
            if histogram.shape[1]:
                known = some & (bucket >= 0)
                flat = group[known] * _BUCKETS + bucket[known]
                histogram += np.bincount(flat, minlength=histogram.size).reshape(histogram.shape)

    def attainment(self, group: int) -> float | None:
        """Share of feasible requests that met their targets; None without any."""
        judged = int(self.judged[group])
        return int(self.met[group]) / judged if judged else None


class _Batch:
    """Ended calls as columns."""

    def __init__(self, rows: Sequence[tuple[float, ...]], classes: Sequence[RequestClass]) -> None:
        table = np.array(rows)
        self.class_index = table[:, 0].astype(np.intp)
        self.end = table[:, 1].astype(np.intp)
        self.arrived_s = table[:, 2]
        ttft_s, itl_s = table[:, 3], table[:, 4]
        self.prefill = table[:, 5].astype(np.intp)
        self.decode = table[:, 6].astype(np.intp)
        self.feasible = table[:, 7] > 0.0
        ttft_slo = np.array([c.slo.ttft_s for c in classes])[self.class_index]
        itl_slo = np.array([c.slo.itl_s for c in classes])[self.class_index]
        in_time = (ttft_s <= ttft_slo) & (np.isnan(itl_s) | (itl_s <= itl_slo))
        completed = self.end == End.COMPLETED
        self.met = self.feasible & completed & in_time
        self.ttft_bucket = _bucket(np.where(completed, ttft_s, np.nan))
        self.itl_bucket = _bucket(np.where(completed, itl_s, np.nan))


class Recorder:
    """`feasible[call.id]`: whether an idle fleet could meet the call's targets."""

    def __init__(
        self,
        fleet: Fleet,
        feasible: NDArray[np.bool_],
        *,
        counted: tuple[float, float],
    ) -> None:
        begin_s, end_s = counted
        self.classes = Tally(len(fleet.classes))
        self.pools = Tally(len(fleet.pools))
        self.spans = max(1, int(np.ceil((end_s - begin_s) / SPAN_S)))
        self.timeline = Tally(self.spans * len(fleet.classes))
        """By class and span: group = class index * `spans` + span."""
        self.uncounted = 0
        self.retried = 0
        self._request_classes = fleet.classes
        self._pool_index: dict[PoolId, int] = {p.id: i for i, p in enumerate(fleet.pools)}
        self._feasible = feasible.astype(np.uint8).tobytes()
        self._begin_s = begin_s
        self._rows: list[tuple[float, ...]] = []

    def ended(self, call: Call, end: End, now_s: float) -> None:
        """One call has come to its end."""
        if call.arrived_s < self._begin_s:
            self.uncounted += 1
            return
        self.retried += call.attempts - 1
        first_s, osl = call.first_s, call.osl_tokens
        index = self._pool_index
        prefill, decode = call.prefill, call.decode
        self._rows.append(
            (
                call.class_index,
                end,
                call.arrived_s,
                first_s - call.arrived_s if first_s is not None else _NAN,
                (now_s - first_s) / (osl - 1) if first_s is not None and osl > 1 else _NAN,
                index[prefill.pool_id] if prefill is not None else -1,
                index[decode.pool_id] if decode is not None else -1,
                self._feasible[call.id],
            )
        )
        if len(self._rows) >= _BUFFER:
            self.settle()

    def settle(self) -> None:
        """Fold in what is buffered."""
        if not self._rows:
            return
        batch = _Batch(self._rows, self._request_classes)
        self._rows.clear()
        self.classes.add(batch.class_index, batch)
        self.pools.add(batch.decode, batch)
        apart = np.where(batch.prefill != batch.decode, batch.prefill, -1)
        self.pools.add(apart, batch)
        span = ((batch.arrived_s - self._begin_s) / SPAN_S).astype(np.intp)
        span = np.clip(span, 0, self.spans - 1)
        self.timeline.add(batch.class_index * self.spans + span, batch)


def _bucket(seconds: NDArray[np.float64]) -> NDArray[np.intp]:
    """Index of each value's bucket; -1 for those that are not known."""
    known = ~np.isnan(seconds)
    above = np.maximum(np.where(known, seconds, _SMALLEST_S), _SMALLEST_S)
    index = np.ceil(np.log(above / _SMALLEST_S) / log(_GROWTH))
    return np.where(known, np.clip(index, 0, _BUCKETS - 1), -1).astype(np.intp)
