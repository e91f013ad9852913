"""The report's charts, each from what one run has left behind."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from weir.domain.fleet import RequestClass
from weir.domain.ids import ClassName
from weir.simulator.recorder import SPAN_S, Recorder, quantile_s
from weir.simulator.report.figures import (
    Figure,
    area,
    band,
    color,
    figure,
    level,
    line,
    markers,
)
from weir.simulator.report.recording import Recording
from weir.simulator.run import Outcome
from weir.simulator.world import World

__all__ = ["charts", "minutes"]

MOST_CLASSES = 12
"""Charts of single classes are drawn for so many, those with the most requests."""

_QUANTILES = (0.5, 0.95, 0.99)


def charts(outcome: Outcome, recording: Recording) -> Iterator[Figure]:
    world = outcome.world
    shown = _most_used(world.recorder)
    yield _demand(world, recording, shown)
    yield _gpus(recording)
    yield _replicas(outcome, recording)
    yield _queue(recording)
    yield _attainment(world, shown)
    for index in shown:
        yield from _latencies(world, index)
    for index in shown:
        yield from _shares(world.fleet.classes[index], recording)


def minutes(at_s: Sequence[float]) -> list[float]:
    return [round(value / 60.0, 4) for value in at_s]


def _most_used(recorder: Recorder) -> list[int]:
    busiest = np.argsort(-recorder.classes.requests, kind="stable")[:MOST_CLASSES]
    return sorted(busiest.tolist())


def _demand(world: World, recording: Recording, shown: Sequence[int]) -> Figure:
    """Arrivals as they were, whatever became of them, beside what the policy expected."""
    scenario, traces = world.scenario, []
    edges = np.arange(scenario.start_s, scenario.end_s, recording.interval_s)
    edges = np.append(edges, edges[-1] + recording.interval_s)
    for index in shown:
        name, stroke = world.fleet.classes[index].name, color(index)
        times_s = scenario.columns.timestamp_s[scenario.class_index == index]
        rates = np.histogram(times_s, edges)[0] / recording.interval_s
        traces += _forecast(name, recording, stroke)
        x = minutes(edges[:-1].tolist())
        traces.append(line(name, x, np.round(rates, 4).tolist(), stroke=stroke))
    return figure("Demand by class", traces, "requests/s")


def _forecast(name: ClassName, recording: Recording, stroke: str) -> list[Figure]:
    known = [
        (at_s + plan.ahead_s, *plan.forecast_rps[name])
        for at_s, plan in zip(recording.at_s, recording.plans, strict=False)
        if name in plan.forecast_rps
    ]
    if not known:
        return []
    at_s, low, middle, high = map(list, zip(*known, strict=True))
    x = minutes(at_s)
    return [
        *band(f"{name}, band", x, low, high, stroke=stroke),
        line(f"{name}, forecast", x, middle, stroke=stroke, dash="dot"),
    ]


def _gpus(recording: Recording) -> Figure:
    x = minutes(recording.at_s)
    traces = [
        area(name, x, samples.gpus, stroke=color(index), stack="gpus")
        for index, (name, samples) in enumerate(recording.pools.items())
    ]
    charged = [plan.charged_gpus for plan in recording.plans]
    if any(gpus is not None for gpus in charged):
        traces.append(line("charged", x, charged, stroke="#444444", dash="dot", step=True))
    traces.append(
        line("budget", x, recording.budget_gpus, stroke="#c00000", dash="dash", step=True)
    )
    return figure("GPUs held by pool, under the budget", traces, "GPUs")


def _replicas(outcome: Outcome, recording: Recording) -> Figure:
    """Point at a diamond for the reason of a step."""
    x, traces = minutes(recording.at_s), []
    for index, (name, samples) in enumerate(recording.pools.items()):
        stroke = color(index)
        traces.append(line(name, x, samples.ready, stroke=stroke, step=True, legendgroup=name))
        steps = [step for step in outcome.world.journal.steps if step.pool_id == name]
        texts = [f"{name} {step.before} to {step.after}: {step.reason}" for step in steps]
        at, after = minutes([step.at_s for step in steps]), [step.after for step in steps]
        traces.append({**markers(name, at, after, texts, stroke=stroke), "legendgroup": name})
    chart = figure("Ready replicas by pool, and decisions", traces, "replicas")
    chart["layout"]["hovermode"] = "closest"
    return chart


def _queue(recording: Recording) -> Figure:
    x = minutes(recording.at_s)
    queues = {str(name): samples.queued for name, samples in recording.pools.items()}
    if len({tuple(queue) for queue in queues.values()}) == 1:
        queues = {"all pools": next(iter(queues.values()))}
    traces = [
        line(name, x, queue, stroke=color(index))
        for index, (name, queue) in enumerate(queues.items())
    ]
    return figure("Requests that wait at the gateway", traces, "requests")


def _attainment(world: World, shown: Sequence[int]) -> Figure:
    timeline, x = world.recorder.timeline, _spans(world)
    traces = []
    for index in shown:
        item = world.fleet.classes[index]
        spans = range(index * world.recorder.spans, (index + 1) * world.recorder.spans)
        shares = [timeline.attainment(span) for span in spans]
        traces.append(line(str(item.name), x, shares, stroke=color(index)))
    for target in sorted({world.fleet.classes[index].slo.percentile for index in shown}):
        traces.append(level(f"target {target:.1%}", x, target))
    return figure("Attainment by minute", traces, "share", tickformat=".0%")


def _latencies(world: World, index: int) -> Iterator[Figure]:
    item, recorder = world.fleet.classes[index], world.recorder
    spans = slice(index * recorder.spans, (index + 1) * recorder.spans)
    for name, histogram, limit_s in (
        ("TTFT", recorder.timeline.ttft[spans], item.slo.ttft_s),
        ("ITL", recorder.timeline.itl[spans], item.slo.itl_s),
    ):
        yield _percentiles(f"{name} of {item.name} by minute", world, histogram, limit_s)


def _percentiles(title: str, world: World, histogram: NDArray[np.int64], limit_s: float) -> Figure:
    x, traces = _spans(world), []
    for number, q in enumerate(_QUANTILES):
        values = [quantile_s(counts, q) for counts in histogram]
        rounded = [None if value is None else round(value * 1e3, 3) for value in values]
        traces.append(line(f"p{q * 100:.0f}", x, rounded, stroke=color(number)))
    traces.append(level("target", x, limit_s * 1e3))
    return figure(title, traces, "ms")


def _spans(world: World) -> list[float]:
    begin_s = world.scenario.count_from_s
    return minutes([begin_s + span * SPAN_S for span in range(world.recorder.spans)])


def _shares(item: RequestClass, recording: Recording) -> Iterator[Figure]:
    """Where the plan sends the class, one chart for each stage."""
    x, plans = minutes(recording.at_s), [plan.shares.get(item.name, {}) for plan in recording.plans]
    for stage in sorted({stage for plan in plans for stage in plan}):
        traces = [
            area(str(pool), x, [plan.get(stage, {}).get(pool, 0.0) for plan in plans],
                 stroke=color(index), stack=stage)
            for index, pool in enumerate(recording.pools)
            if any(plan.get(stage, {}).get(pool) for plan in plans)
        ]  # fmt: skip
        title = f"Routing shares of {item.name}, {stage}"
        yield figure(title, traces, "share", tickformat=".0%", range=[0, 1])
