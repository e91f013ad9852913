"""Which workers are left alone for longer: those that are much worse than the others of their pool.

A breaker opens at a failure and closes at the next success, so a worker that fails every third
request would be tried again and again. And one that accepts requests and never answers opens no
breaker until they time out.
"""

from collections.abc import Sequence

from router.core.workers.worker import Worker

__all__ = [
    "begin_window",
    "fails_often",
    "is_stuck",
    "may_be_stuck",
    "may_leave",
    "span_s",
    "usual_wait_s",
]

_ERRORS = 5
"""Fewer may be chance."""
_TIMES_OTHERS = 5
_ONE_IN = 20
"""Of its requests one in so many fails, or more."""
_ASKED = 8
"""Other workers that one is compared with, here and there in the pool."""
_MOST_OUT = 3
"""One in so many workers may be away, however bad it is."""
_STUCK_S, _TIMES_QUEUE = 10.0, 5.0
_FIRST_S, _LONGEST_S = 10.0, 160.0


def begin_window(workers: Sequence[Worker]) -> None:
    for worker in workers:
        if not worker.errors:
            worker.terms = 0
        worker.errors = 0
        worker.served_before = worker.served


def fails_often(worker: Worker, workers: Sequence[Worker]) -> bool:
    """Five times as often as the others of the pool, in this window."""
    served = max(1, worker.served - worker.served_before)
    if worker.errors < _ERRORS or worker.errors * _ONE_IN < served:
        return False
    others_errors = sum(w.errors for w in workers) - worker.errors
    others_served = sum(w.served - w.served_before for w in workers) - served
    return worker.errors * max(0, others_served) > _TIMES_OTHERS * others_errors * served


def may_be_stuck(worker: Worker, now_s: float) -> bool:
    """Whether `is_stuck` is to be asked. No is certain, yes is not."""
    return worker.waited_s(now_s) > _STUCK_S


def is_stuck(worker: Worker, usual_s: float, queue_s: float, now_s: float) -> bool:
    """Its oldest prompt waits much longer than its queue should take, and than at most others."""
    waited_s = worker.waited_s(now_s)
    return waited_s > _STUCK_S + _TIMES_QUEUE * queue_s and waited_s > _TIMES_OTHERS * usual_s


def usual_wait_s(workers: Sequence[Worker], now_s: float) -> float:
    """Of the oldest prompt: as long as at half of some others; below 0 if there are none."""
    asked = workers[:: 1 + (len(workers) - 1) // _ASKED]
    half = len(asked) // 2
    return sorted(worker.waited_s(now_s) for worker in asked)[half - 1] if half else -1.0


def may_leave(worker: Worker, workers: Sequence[Worker]) -> bool:
    """Whether so many are there that the pool can do without this one too. One always stays."""
    serving = [w for w in workers if not w.endpoint.draining]
    away = sum(w.failures > 0 for w in serving if w is not worker)
    return len(serving) > 1 and away < max(1, len(serving) // _MOST_OUT)


def span_s(times: int) -> float:
    """For how long, if it is ejected for the so manieth time; twice as long each time."""
    return float(min(_LONGEST_S, _FIRST_S * 2.0 ** min(times - 1, 10)))
