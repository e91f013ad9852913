import os
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from weir.forecast.fits import ArimaFit, Fit, FitTask
from weir.forecast.samples import Grid
from weir.runtime.fit_worker import FitWorker

WITHIN_S = 60.0


def quick(task: FitTask) -> Fit:
    """Tells in which process it ran, and what of."""
    return ArimaFit(
        ar=(),
        ma=(),
        differences=os.getpid(),
        centre=float(task.grid.values[0]),
        variance=0.0,
        step_s=1.0,
    )


def odd(task: FitTask) -> Fit:
    """Hangs on 1, dies on 2, fails on 3."""
    value = task.grid.values[0]
    if value == 1.0:
        time.sleep(3600.0)
    if value == 2.0:
        os._exit(1)
    if value == 3.0:
        raise ValueError("cannot be fitted")
    return quick(task)


def task(value: float) -> FitTask:
    return FitTask("arima", Grid(np.full(9, value), 1.0, 9.0), 10.0)


@pytest.fixture
def worker() -> Iterator[FitWorker[str]]:
    made: FitWorker[str] = FitWorker(deadline_s=30.0, function=odd)
    yield made
    made.close()


def _until(done: Callable[[], bool]) -> None:
    until_s = time.monotonic() + WITHIN_S
    while not done():
        assert time.monotonic() < until_s, "it takes too long"
        time.sleep(0.01)


def _next(worker: FitWorker[str], now_s: float) -> tuple[str, ArimaFit]:
    got: list[tuple[str, Fit]] = []
    _until(lambda: got.extend(worker.poll(now_s)) or bool(got))
    ((key, fit),) = got
    assert isinstance(fit, ArimaFit)
    return key, fit


def test_fits_are_made_elsewhere_one_after_the_other(worker: FitWorker[str]) -> None:
    worker.submit("a", task(7.0), 0.0)
    worker.submit("b", task(8.0), 0.0)
    first, second = _next(worker, 1.0), _next(worker, 1.0)
    assert [(key, fit.centre) for key, fit in (first, second)] == [("a", 7.0), ("b", 8.0)]
    assert first[1].differences == second[1].differences != os.getpid()


def test_asking_never_waits(worker: FitWorker[str]) -> None:
    worker.submit("slow", task(1.0), 0.0)
    began_s = time.monotonic()
    assert [worker.poll(1.0) for _ in range(100)] == [[]] * 100
    assert time.monotonic() - began_s < WITHIN_S


def test_a_late_fit_is_ended_and_the_next_one_is_made(worker: FitWorker[str]) -> None:
    worker.submit("slow", task(1.0), 0.0)
    worker.submit("quick", task(9.0), 0.0)
    assert worker.poll(29.0) == []
    assert worker.poll(31.0) == []
    assert worker.late == 1
    assert _next(worker, 32.0)[0] == "quick"


@pytest.mark.parametrize("value", [2.0, 3.0])
def test_a_fit_that_fails_or_dies_is_counted_and_does_no_more_harm(
    worker: FitWorker[str], value: float
) -> None:
    worker.submit("bad", task(value), 0.0)
    _until(lambda: worker.poll(1.0) == [] and worker.failed == 1)
    worker.submit("good", task(9.0), 2.0)
    assert _next(worker, 3.0)[0] == "good"


def test_of_one_series_only_the_newest_task_waits(worker: FitWorker[str]) -> None:
    worker.submit("first", task(5.0), 0.0)
    worker.submit("again", task(6.0), 0.0)
    worker.submit("again", task(7.0), 0.0)
    keys = [_next(worker, 1.0), _next(worker, 1.0)]
    assert [(key, fit.centre) for key, fit in keys] == [("first", 5.0), ("again", 7.0)]
    assert worker.poll(2.0) == []
