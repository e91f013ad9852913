"""How well and at what cost every predictor forecasts request traces.

    python -m tests.benchmarks.bench_forecast [--traces DIR] [--predictors auto,kalman] [--json]

Each trace becomes three series: requests, prompt tokens and output tokens per second, as means
of `--window` seconds; `alibaba_10min_week1` has them ready, in windows of 600 s. At every window
each predictor forecasts the one that ends 60, 180 and 600 s later (1, 3 and 6 windows of 600 s).
Reported per series and distance, all predictors on the same forecasts:

* `mase`: mean absolute error of the median over that of the naive forecast, the last value.
* `pinball`: mean loss of the quantiles 0.5 and 0.9 over the mean value.
* `coverage`: share of the values inside the 90 % band.
* `cpu_s`: CPU seconds for the whole series, fits included; `fit_s` those of the slow fits.

`naive` is the last value with the changes seen lately as its band, `trend` the filter that
`weir.forecast.trend` has. `arima` and `prophet` need the extra `forecast` and are refitted every
`--refit` seconds. `auto-floor` is `auto` that never forecasts below the last two minutes.
"""

import argparse
import csv
import gzip
import json
import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from weir.forecast.constant import Constant
from weir.forecast.forecaster import LIGHT, Forecaster, ForecastSettings, Kind
from weir.forecast.heavy import LIBRARIES, fit, is_installed
from weir.forecast.outlook import Outlook, pinball
from weir.forecast.samples import Sample, binned
from weir.forecast.trend import Trend, observe, predict
from weir.workload import read_columns

__all__ = ["main", "measure"]

_EXAMPLES = Path(__file__).parents[2] / "examples/traces"
_WEEK = "alibaba_10min_week1.csv.gz"
_LEVELS = (0.5, 0.9)
_BAND = (0.05, 0.95)
_SHARE_SKIPPED = 0.1
"""So much of a series is only learned from, at most two hours."""
_SHORTEST_S = 900.0
_LIGHT = ("naive", "trend", "mean", "kalman", "ets", "auto", "auto-floor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One rate, and at which distances it is to be forecast."""

    name: str
    samples: Sequence[Sample]
    window_s: float
    ahead_s: tuple[float, ...]


class _Contender(Protocol):
    fit_s: float

    def observe(self, sample: Sample) -> None: ...

    def predict(self, at_s: float) -> Outlook | None: ...


class _Ours:
    """A `Forecaster`, its slow fits made at once."""

    def __init__(self, settings: ForecastSettings) -> None:
        self.fit_s = 0.0
        self._forecaster = Forecaster(settings)

    def observe(self, sample: Sample) -> None:
        self._forecaster.observe(sample.value, sample.at_s, window_s=sample.window_s)
        began_s = time.process_time()
        for kind, task in self._forecaster.due_fits(sample.at_s).items():
            self._forecaster.accept(kind, fit(task))
        self.fit_s += time.process_time() - began_s

    def predict(self, at_s: float) -> Outlook | None:
        return self._forecaster.predict(at_s)


class _Naive:
    fit_s = 0.0

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._constant = Constant()

    def observe(self, sample: Sample) -> None:
        self._constant.observe(sample)

    def predict(self, at_s: float) -> Outlook | None:
        return self._constant.predict(at_s, self._window_s)


class _Trend:
    """Its band is of the rate; the noise of counting in one window is added."""

    fit_s = 0.0

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._trend: Trend | None = None

    def observe(self, sample: Sample) -> None:
        self._trend = observe(self._trend, sample.value, sample.at_s, window_s=sample.window_s)

    def predict(self, at_s: float) -> Outlook | None:
        assert self._trend is not None
        ahead = predict(self._trend, at_s)
        noise = self._trend.dispersion * self._trend.level / self._window_s
        return Outlook.normal(ahead.mean, math.sqrt(ahead.std**2 + noise))


def measure(series: Series, name: str, *, refit_s: float = 900.0) -> dict[str, object]:
    """One predictor on one series: its figures by distance, and what they cost."""
    contender = _contender(name, series, refit_s)
    values = {sample.at_s: sample.value for sample in series.samples}
    scores = {ahead_s: _Score() for ahead_s in series.ahead_s}
    span_s = series.samples[-1].at_s - series.samples[0].at_s
    from_s = series.samples[0].at_s + min(7200.0, _SHARE_SKIPPED * span_s)
    began_s = time.process_time()
    for sample in series.samples:
        contender.observe(sample)
        for ahead_s, score in scores.items():
            value = values.get(sample.at_s + ahead_s)
            if value is not None and sample.at_s >= from_s:
                score.add(contender.predict(sample.at_s + ahead_s), sample.value, value)
    cpu_s = time.process_time() - began_s
    return {
        "cpu_s": round(cpu_s, 3),
        "fit_s": round(contender.fit_s, 3),
        "tick_us": round(1e6 * (cpu_s - contender.fit_s) / len(series.samples), 1),
        "ahead": {f"{ahead_s:g}": score.figures() for ahead_s, score in scores.items()},
    }


class _Score:
    def __init__(self) -> None:
        self._rows: list[tuple[float, float, float, float, float]] = []

    def add(self, outlook: Outlook | None, now: float, value: float) -> None:
        """A forecast that was refused counts as the last value, without a band."""
        said = outlook or Outlook.normal(now, 0.0)
        low, high = (said.quantile(level) for level in _BAND)
        self._rows.append(
            (
                abs(value - said.median),
                abs(value - now),
                pinball(said, _LEVELS, value),
                float(low <= value <= high),
                value,
            )
        )

    def figures(self) -> dict[str, float | int | None]:
        if not self._rows:
            return {"forecasts": 0, "mase": None, "pinball": None, "coverage": None}
        error, naive, loss, inside, value = np.mean(self._rows, axis=0).tolist()
        return {
            "forecasts": len(self._rows),
            "mase": round(error / naive, 4) if naive > 0.0 else None,
            "pinball": round(loss / value, 5) if value > 0.0 else None,
            "coverage": round(inside, 4),
        }


def _contender(name: str, series: Series, refit_s: float) -> _Contender:
    if name == "naive":
        return _Naive(series.window_s)
    if name == "trend":
        return _Trend(series.window_s)
    plain = name.removesuffix("-log1p")
    settings = ForecastSettings(
        kind=Kind.AUTO if plain.startswith("auto") else Kind(plain),
        log1p=plain != name,
        ahead_s=series.ahead_s,
        window_s=series.window_s,
        memory_s=4.0 * series.window_s,
        floor_s=max(120.0, series.window_s) if plain == "auto-floor" else None,
        refit_s=refit_s,
    )
    if plain == "auto-all":
        settings = replace(settings, candidates=(*LIGHT, Kind.ARIMA, Kind.PROPHET))
    return _Ours(settings)


def trace_series(path: Path, window_s: float, limit_s: float | None) -> list[Series]:
    """The three rates of a request trace, from its first whole window on."""
    columns = read_columns(path)
    from_s = window_s * math.ceil(columns.timestamp_s[0] / window_s)
    to_s = float(columns.timestamp_s[-1])
    to_s = to_s if limit_s is None else min(to_s, from_s + limit_s)
    weights = {"requests": None, "prompt": columns.isl_tokens, "output": columns.osl_tokens}
    return [
        Series(
            name=f"{path.name.removesuffix('.gz').removesuffix('.csv')}/{what}",
            samples=list(
                binned(
                    columns.timestamp_s,
                    None if tokens is None else tokens.astype(float),
                    window_s=window_s,
                    from_s=from_s,
                    to_s=to_s,
                )
            ),
            window_s=window_s,
            ahead_s=tuple(each_s for each_s in (60.0, 180.0, 600.0) if each_s >= window_s),
        )
        for what, tokens in weights.items()
    ]


def week_series(path: Path) -> list[Series]:
    """The same rates of each model, as the file has them: means of ten minutes."""
    found: dict[str, list[Sample]] = {}
    with gzip.open(path, "rt") as file:
        for row in csv.DictReader(file):
            rps, end_s = float(row["rps"]), float(row["window_s"]) + 600.0
            rates = {"requests": 1.0, "prompt": row["isl_mean"], "output": row["osl_mean"]}
            for what, length in rates.items():
                name = f"week1 {row['model']}/{what}"
                found.setdefault(name, []).append(Sample(end_s, rps * float(length), 600.0))
    return [
        Series(name=name, samples=samples, window_s=600.0, ahead_s=(600.0, 1800.0, 3600.0))
        for name, samples in found.items()
    ]


def series_in(folder: Path, window_s: float, limit_s: float | None) -> list[Series]:
    """All series of the traces in the folder that are long enough to be forecast."""
    series: list[Series] = []
    for path in sorted([*folder.glob("*.csv"), *folder.glob("*.csv.gz")]):
        series += week_series(path) if path.name == _WEEK else _trace(path, window_s, limit_s)
    return series


def _trace(path: Path, window_s: float, limit_s: float | None) -> Iterable[Series]:
    series = trace_series(path, window_s, limit_s)
    return [each for each in series if len(each.samples) * window_s >= _SHORTEST_S]


def mean_figures(rows: Mapping[str, Mapping[str, Mapping[str, object]]]) -> dict[str, object]:
    """Over all series that have a distance: the plain mean of each figure, by predictor."""
    table: dict[str, dict[str, dict[str, list[float]]]] = {}
    for by_predictor in rows.values():
        for name, row in by_predictor.items():
            ahead = row["ahead"]
            assert isinstance(ahead, dict)
            for ahead_s, figures in ahead.items():
                cell = table.setdefault(name, {}).setdefault(ahead_s, {})
                for key, value in figures.items():
                    if key != "forecasts" and value is not None:
                        cell.setdefault(key, []).append(value)
    return {
        name: {
            ahead_s: {key: round(float(np.mean(v)), 4) for key, v in cell.items()}
            for ahead_s, cell in by_ahead.items()
        }
        for name, by_ahead in table.items()
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, default=_EXAMPLES, metavar="DIR")
    parser.add_argument("--predictors", default=",".join(_LIGHT), metavar="A,B")
    parser.add_argument("--only", default="", metavar="TEXT", help="series whose name has this")
    parser.add_argument("--window", type=float, default=30.0, metavar="S")
    parser.add_argument("--limit", type=float, metavar="S", help="of each trace, only so much")
    parser.add_argument("--refit", type=float, default=900.0, metavar="S")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    for quiet in ("cmdstanpy", "prophet"):
        logging.getLogger(quiet).disabled = True
    names = args.predictors.split(",")
    lacking = [kind for kind in LIBRARIES if kind in names and not is_installed(kind)]
    if lacking:
        parser.error(f"{', '.join(lacking)}: pip install 'weir[forecast]'")
    rows: dict[str, dict[str, dict[str, object]]] = {}
    for series in series_in(args.traces, args.window, args.limit):
        if args.only not in series.name:
            continue
        rows[series.name] = {}
        for name in names:
            row = rows[series.name][name] = measure(series, name, refit_s=args.refit)
            if not args.json:
                print(f"{series.name:45} {name:11} {_line(row)}", flush=True)
    if args.json:
        print(json.dumps({"series": rows, "mean": mean_figures(rows)}, indent=2))
        return
    for name, by_ahead in mean_figures(rows).items():
        assert isinstance(by_ahead, dict)
        print(f"{'MEAN':45} {name:11} {_line({'ahead': by_ahead})}")


def _line(row: Mapping[str, object]) -> str:
    ahead = row["ahead"]
    assert isinstance(ahead, dict)
    cells = [
        f"{ahead_s:>4} s: mase {_text(f['mase'])} pinball {_text(f['pinball'])} "
        f"cover {_text(f['coverage'])}"
        for ahead_s, f in ahead.items()
    ]
    cost = f" | cpu {row['cpu_s']} s, tick {row['tick_us']} us" if "cpu_s" in row else ""
    return " | ".join(cells) + cost


def _text(value: float | None) -> str:
    return "    -" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
