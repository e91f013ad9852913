"""Forecasts by a predictor that the document names."""

import json
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import pytest

from globalplanner.core.load.offered import OfferedLoad
from globalplanner.core.load.predicted import Predicted
from globalplanner.fits import Fits
from globalplanner.parts import predicted_of
from globalplanner.warm_up import rates_of
from tests.unit.globalplanner.fleets import CHAT, LONG, fleet, pool, request_class
from weir.domain.errors import TraceError
from weir.domain.fleet import TokenRange
from weir.domain.ids import RouterId
from weir.domain.telemetry import ClassTraffic, TrafficSample
from weir.fleet import PlannerSettings
from weir.forecast.fits import ArimaFit, Fit, FitTask
from weir.forecast.forecaster import ForecastSettings, Kind
from weir.forecast.samples import Sample
from weir.runtime.clock import Clock

SETTINGS = ForecastSettings(kind=Kind.CONSTANT, window_s=10.0, floor_s=None)


def _fed(predicted: Predicted | None, rates: list[float]) -> OfferedLoad:
    """One measurement each two seconds."""
    offered = OfferedLoad([CHAT], stale_s=15.0, predicted=predicted)
    for number, rate in enumerate(rates):
        traffic = ClassTraffic(name=CHAT, arrivals=round(2 * rate), isl_tokens=100)
        sample = TrafficSample(
            router_id=RouterId("r"), sequence=number, window_s=2.0, classes=(traffic,)
        )
        offered.add(sample, 2.0 * number)
        offered.fold(2.0 * number)
    return offered


def _rate(offered: OfferedLoad, count: int, *, ahead_s: float = 60.0) -> float:
    loads = offered.loads(2.0 * (count - 1), ahead_s=ahead_s)
    assert loads is not None
    return loads[CHAT].rate_rps


def test_a_predictor_speaks_in_place_of_the_trend() -> None:
    rising = [50.0 + n for n in range(60)]
    # A trend has to show for longer before it is believed.
    assert 90.0 < _rate(_fed(None, rising), 60) < 115.0
    line = ForecastSettings(kind=Kind.ETS, window_s=10.0)
    assert _rate(_fed(Predicted(line), rising), 60) == pytest.approx(139.0, rel=0.1)


def test_what_comes_now_is_the_floor() -> None:
    jump = [20.0] * 40 + [60.0] * 4
    slow = Predicted(ForecastSettings(kind=Kind.MEAN, memory_s=1e4, window_s=10.0, floor_s=None))
    assert _rate(_fed(slow, jump), 44) == pytest.approx(60.0, rel=0.1)


def test_the_trend_speaks_until_a_predictor_can() -> None:
    few = [50.0] * 3
    assert _rate(_fed(Predicted(SETTINGS), few), 3) == _rate(_fed(None, few), 3)


def test_what_was_learned_before_is_known_at_the_first_measurement() -> None:
    ramp = [Sample(-600.0 + 10.0 * n, 10.0 + n, 10.0) for n in range(60)]
    predicted = Predicted(ForecastSettings(kind=Kind.KALMAN, window_s=10.0))
    predicted.warm_up({CHAT: ramp})
    found = predicted.at(CHAT, 60.0, floor_rps=0.0)
    assert found is not None and found.mean == pytest.approx(73.0, abs=4.0)


def test_a_second_measurement_of_the_same_moment_is_left_out() -> None:
    predicted = Predicted(SETTINGS)
    predicted.observe(CHAT, 5.0, 10.0, window_s=10.0)
    predicted.observe(CHAT, 500.0, 10.0, window_s=10.0)
    found = predicted.at(CHAT, 20.0, floor_rps=0.0)
    assert found is not None and found.mean < 10.0


class FakeWorker:
    """Has finished what it was given by the next look."""

    def __init__(self) -> None:
        self.tasks: dict[Any, FitTask] = {}
        self.closed = False

    def submit(self, key: Hashable, task: FitTask, now_s: float) -> None:
        self.tasks[key] = task

    def poll(self, now_s: float) -> list[tuple[Any, Fit]]:
        fit = ArimaFit(ar=(), ma=(), differences=0, centre=7.0, variance=1.0, step_s=10.0)
        done, self.tasks = self.tasks, {}
        return [(key, fit) for key in done]

    def close(self) -> None:
        self.closed = True


def test_slow_fits_are_made_elsewhere_and_taken_over_when_they_are_done() -> None:
    predicted = Predicted(ForecastSettings(kind=Kind.ARIMA, window_s=10.0, floor_s=None))
    for n in range(30):
        predicted.observe(CHAT, 20.0 + n % 3, 10.0 * n, window_s=10.0)
    before = predicted.at(CHAT, 360.0, floor_rps=0.0)
    Fits(predicted, Clock(), FakeWorker()).step()  # type: ignore[arg-type]
    after = predicted.at(CHAT, 360.0, floor_rps=0.0)
    assert before is not None and before.mean == pytest.approx(21.0, abs=2.0)
    assert after is not None and after.mean == pytest.approx(7.0, abs=0.5)


def test_the_document_says_which_predictor() -> None:
    whole = fleet([pool("a", start_up_s=58.0)])
    assert predicted_of(whole, PlannerSettings()) is None
    given = {"predictor": "ets", "log1p": True, "min_points": 9}
    predicted = predicted_of(whole, PlannerSettings.model_validate({"forecast": given}))
    assert predicted is not None
    settings = predicted.settings
    assert (settings.kind, settings.log1p, settings.min_points) == (Kind.ETS, True, 9)
    assert settings.ahead_s == (60.0,)


CLASSES = (
    request_class("long", isl_tokens=TokenRange(low=1000)),
    request_class("chat"),
)
ROWS = [(0.0, 10, 1), (4.0, 2000, 1), (11.0, 10, 1), (12.0, 10, 1), (25.0, 10, 1)]


def _csv(path: Path) -> Path:
    lines = ["timestamp_s,isl,osl", *(f"{t},{isl},{osl}" for t, isl, osl in ROWS)]
    (path / "t.csv").write_text("\n".join(lines))
    return path / "t.csv"


def _jsonl(path: Path) -> Path:
    rows = [
        {"timestamp": 1000 * t, "input_length": isl, "output_length": osl} for t, isl, osl in ROWS
    ]
    (path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return path / "t.jsonl"


@pytest.mark.parametrize("written", [_csv, _jsonl])
def test_a_trace_is_the_classes_rates_up_to_now(
    tmp_path: Path, written: Callable[[Path], Path]
) -> None:
    # The window that the trace ends in is left out.
    found = rates_of(written(tmp_path), CLASSES, window_s=10.0, end_s=500.0)
    assert found[CHAT] == [Sample(490.0, 0.1, 10.0), Sample(500.0, 0.2, 10.0)]
    assert found[LONG] == [Sample(490.0, 0.1, 10.0), Sample(500.0, 0.0, 10.0)]


@pytest.mark.parametrize("line", ["{", '{"timestamp": 1}', '{"timestamp": "x"}', "[]"])
def test_what_is_no_trace_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"timestamp": 0, "input_length": 1, "output_length": 1}\n' + line)
    with pytest.raises(TraceError, match=r"t\.jsonl:2: needs timestamp, input_length"):
        rates_of(file, CLASSES, window_s=10.0, end_s=0.0)
