"""Small simulated worlds whose figures can be worked out by hand."""

from collections.abc import Callable, Sequence
from pathlib import Path

from weir.fleet import LoadedFleet, load
from weir.simulator.gateway.plain import PlainGateway
from weir.simulator.gateway.port import Gateway
from weir.simulator.homes import homes_of
from weir.simulator.inputs import Inputs
from weir.simulator.scenario import Scenario
from weir.simulator.world import World

__all__ = ["DOCUMENT", "Scripted", "exact_fleet", "scenario"]

DOCUMENT = """\
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: small}
spec:
  models: [{name: m}]
  classes:
    - {name: short, isl: {max: 950}, ttft_ms: 1000, itl_ms: 50, percentile: 99}
    - {name: long, ttft_ms: 2000, itl_ms: 50, percentile: 99}
  budget: {gpus: 16}
  profiles:
    engine: # 1,000 prompt tokens/s; an iteration of decoding takes 20 ms whoever is in it
      timing: {kind: polynomial, prefill_s: [0, 0.001], decode_s: [0.02]}
      kv_transfer_tokens_per_s: 1.0e+9
      max_sequences: 32
      max_batched_tokens: 2048
  pools:
    - {name: prefill, role: prefill, model: m, profile: engine, start_up_s: 10,
       context_limit_tokens: 10000}
    - {name: decode, role: decode, model: m, profile: engine, start_up_s: 10,
       context_limit_tokens: 10000, gpus_per_replica: 2}
  simulation: {speed_bias: 0.0, speed_noise: 0.0, start_up_spread: 0.0}
"""
"""One prefill and one decode pool of exactly their documented speed."""

Rows = Sequence[tuple[float, int, int]]
"""Arrival in seconds, ISL and OSL."""


def exact_fleet(folder: Path, *sets: str) -> LoadedFleet:
    path = folder / "fleet.yaml"
    path.write_text(DOCUMENT)
    return load(path, sets)


def scenario(
    folder: Path, rows: Rows, *sets: str, to_s: float, warmup_s: float = 0.0, seed: int = 0
) -> Scenario:
    trace = folder / "trace.csv"
    lines = [f"{at_s},{isl},{osl}" for at_s, isl, osl in rows]
    trace.write_text("\n".join(["timestamp_s,isl,osl", *lines]) + "\n")
    loaded = exact_fleet(folder, *sets)
    inputs = Inputs(loaded=loaded, trace=trace, from_s=0.0, to_s=to_s, warmup_s=warmup_s)
    return inputs.scenario(seed)


class Scripted:
    """One replica of each pool, and what the script does to the world at its times."""

    def __init__(self, *script: tuple[float, Callable[[World], object]]) -> None:
        self._script = script

    def gateway(self, world: World) -> Gateway:
        self._gateway = PlainGateway(world, homes_of(world.fleet, world.fleet.models[0].name))
        return self._gateway

    def start(self, world: World) -> None:
        self._gateway.attach()
        for spec in world.fleet.pools:
            world.cluster.place(spec.id, 1)
        for at_s, act in self._script:
            world.events.at(at_s, lambda _, act=act: act(world))
