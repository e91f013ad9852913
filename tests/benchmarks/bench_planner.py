"""CPU time of one round of a pool planner, and what a process with 64 of them takes.

    python -m tests.benchmarks.bench_planner [--json]

`ticks`: a pool of each role with 32 engines, 8 classes and 2 routers. `tick` is observing,
learning from engines, forecasting, capacity, the report and the steps towards the grant; `kalman`,
`ets`, `auto` the same and besides requests, prompt and output tokens forecast by this predictor;
`intake` is what routers and engines have sent in a second, from the bytes on. `predictors`: a
measurement taken in and a forecast a minute ahead. `process`: 64 pools of 8 engines
(`planned_process`), for six minutes: until what is remembered has been filled.
"""

import argparse
import json
import math
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from poolplanner.core.replicas import Replica, ReplicaState, state_of
from poolplanner.parts import pace_of, reporter_of
from tests.benchmarks.planned import PoolOfFleet, World
from tests.benchmarks.planned_process import measure_process
from weir import codec
from weir.api.v1 import telemetry_pb2
from weir.domain.fleet import Role
from weir.domain.planning import Grant
from weir.fleet import LoadedFleet, load
from weir.forecast.demand import Demand, DemandForecaster
from weir.forecast.forecaster import Forecaster, ForecastSettings, Kind

__all__ = ["main", "measure_predictor", "measure_ticks"]

_ENGINES = 32
_WARM_UP_S = 330
"""Until what is remembered has been filled."""
_SECONDS = 1200
_KINDS = (Kind.KALMAN, Kind.ETS, Kind.AUTO)


def measure_ticks(
    role: Role, *, seconds: int = _SECONDS, engines: int = _ENGINES
) -> dict[str, float]:
    """Milliseconds of CPU per round and second."""
    world = World([role, *(other for other in Role if other is not role)], engines)
    pool = _Pool(world.pools[0], _loaded(world))
    taken_ms: dict[str, list[float]] = {}
    for number in range(1, _WARM_UP_S + seconds + 1):
        intake_ms = _cpu_ms(partial(pool.take, *_sent(world, number), float(number)))
        tick_ms = _cpu_ms(partial(pool.tick, number))
        with_ms = {
            kind.value: tick_ms + _cpu_ms(partial(pool.forecast, kind, number)) for kind in _KINDS
        }
        if number > _WARM_UP_S:
            for name, ms in {"intake": intake_ms, "tick": tick_ms, **with_ms}.items():
                taken_ms.setdefault(name, []).append(ms)
    return {
        f"{name}_p{percent}_ms": _quantile(values, percent / 100.0)
        for name, values in taken_ms.items()
        for percent in (50, 99)
    }


def _sent(world: World, number: int) -> tuple[list[bytes], list[bytes]]:
    """What routers and the first pool's engines publish."""
    traffic, passes = world.second(number)
    routers = [codec.encode_traffic(sample).SerializeToString() for sample in traffic]
    own = (sample for sample in passes if sample.pool_id == world.pools[0].id)
    return routers, [codec.encode_forward_pass(sample).SerializeToString() for sample in own]


class _Pool:
    """One pool planner without its process."""

    def __init__(self, pool: PoolOfFleet, loaded: LoadedFleet) -> None:
        spec = loaded.fleet.pool(pool.id)
        self.pool = pool
        self.offered_rps = 0.0
        self.reporter = reporter_of(spec, loaded, speed=1.0)
        self.pace = pace_of(spec, settle_s=1.0, unsettled_s=10.0)
        self.replicas = [
            Replica(id=worker, state=ReplicaState.READY, host="h", port=1)
            for worker in pool.workers
        ]
        self.forecasters = {kind: DemandForecaster(ForecastSettings(kind=kind)) for kind in _KINDS}

    def take(self, routers: list[bytes], workers: list[bytes], now_s: float) -> None:
        telemetry = self.reporter.telemetry
        for data in routers:
            message = telemetry_pb2.TrafficSample.FromString(data)
            telemetry.on_traffic(codec.decode_traffic(message), now_s)
        for data in workers:
            passed = telemetry_pb2.ForwardPassSample.FromString(data)
            telemetry.on_forward_pass(codec.decode_forward_pass(passed), now_s)

    def tick(self, number: int) -> None:
        now_s = float(number)
        self.pace.see(self.replicas, now_s)
        report = self.reporter.report(
            sequence=number, state=state_of(self.replicas), grant=self.pace.grant, now_s=now_s
        )
        self.offered_rps = sum(load.rate_rps for load in report.load)
        assert self.offered_rps > 0.0
        grant = Grant(
            pool_id=self.pool.id,
            epoch=1,
            term=1,
            replicas=len(self.replicas),
            valid_s=10.0,
            reason="",
        )
        self.pace.offer(grant, sent_at_s=now_s)
        self.pace.step(self.replicas, now_s)

    def forecast(self, kind: Kind, number: int) -> None:
        """What the pool is offered, to when a replica started now would serve."""
        forecaster, at_s = self.forecasters[kind], float(number)
        rate_rps = self.offered_rps
        demand = Demand(
            requests=rate_rps, prompt_tokens=1200.0 * rate_rps, output_tokens=200.0 * rate_rps
        )
        forecaster.observe(demand, at_s, window_s=1.0)
        forecaster.predict(at_s + self.reporter.spec.start_up_s)


def measure_predictor(kind: Kind, *, samples: int = 3000) -> dict[str, float]:
    """Milliseconds of CPU for a measurement and a forecast."""
    forecaster, rng, taken_ms = Forecaster(ForecastSettings(kind=kind)), random.Random(1), []

    def both(rate: float, at_s: float) -> None:
        forecaster.observe(rate, at_s, window_s=5.0)
        forecaster.predict(at_s + 60.0)

    for number in range(1, samples + 1):
        at_s = 5.0 * number
        rate = max(0.0, rng.gauss(50.0 + 15.0 * math.sin(at_s / 300.0), 3.0))
        taken_ms.append(_cpu_ms(partial(both, rate, at_s)))
    late_ms = taken_ms[samples // 10 :]
    return {"p50_ms": _quantile(late_ms, 0.50), "p99_ms": _quantile(late_ms, 0.99)}


def _loaded(world: World) -> LoadedFleet:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "fleet.yaml"
        file.write_text(world.document())
        return load(file)


def _cpu_ms(work: Callable[[], None]) -> float:
    began_ns = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - began_ns) / 1e6


def _quantile(values: list[float], share: float) -> float:
    return round(sorted(values)[round(share * (len(values) - 1))], 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = parser.parse_args().json
    figures: dict[str, dict[str, Any]] = {
        "ticks": {role.value: measure_ticks(role) for role in Role},
        "predictors": {kind.value: measure_predictor(kind) for kind in _KINDS},
        "process": measure_process(),
    }
    if as_json:
        print(json.dumps(figures))
        return
    for part, rows in figures.items():
        for name, row in rows.items():
            print(f"{part} {name}: {row}")


if __name__ == "__main__":
    main()
