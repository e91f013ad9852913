"""A fleet under drifting demand, as the arbiter sees it decision by decision.

Pools belong to models of 2 to 24 pools: aggregated, prefill and decode, or both. Budget and
demand are 10 GPUs per pool in the mean. Demand swings around what the budget can serve, by
model and class; capacities change a little with every report; some pools have queued work.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from random import Random

from globalplanner.core.arbiter.snapshot import PoolView, Snapshot
from globalplanner.core.budget.limits import limits_of
from weir.domain.fleet import (
    Budget,
    Fleet,
    Model,
    NodeGroup,
    PoolSpec,
    RequestClass,
    Role,
    Slo,
    TokenRange,
)
from weir.domain.ids import ClassName, ModelName, PoolId
from weir.domain.planning import ClassLoad
from weir.domain.profile import EngineProfile

__all__ = ["Drift"]

INTERVAL_S = 2.0
GPUS_PER_POOL = 10
_PROMPT_TOKENS = (200, 800, 1500, 4000, 800, 3000, 12000, 30000)
_OUTPUT_TOKENS = (100, 150, 400, 300, 1200, 800, 500, 1500)
_CLASSES = tuple(ClassName(f"class-{i}") for i in range(len(_PROMPT_TOKENS)))
_SPEEDS = {"H200": 1.3, "H100": 1.0, "L40S": 0.45}
_PREFILL_TOKENS_PER_S = 12_000.0
_DECODE_TOKENS_PER_S = 1_800.0
_START_UP_DECISIONS = 15
_SWING = 0.25
_SWING_DECISIONS = 200.0
_MIXES = {
    "agg": (Role.AGG,),
    "pair": (Role.PREFILL, Role.DECODE),
    "both": (Role.PREFILL, Role.DECODE, Role.AGG),
}


class Drift:
    """Call `snapshot` for what is known now, then `decided` with what was made of it."""

    def __init__(self, pools: int, *, seed: int = 1, most_pools: int = 24) -> None:
        self._random = Random(seed)
        self._specs = list(self._pools(pools, most_pools))
        self._fleet = self._whole(self._specs)
        self._limits = limits_of(self._fleet)
        self._capacity = {spec.id: self._capacity_of(spec) for spec in self._specs}
        self._mix = self._mixes()
        self._phase = {m: self._random.uniform(0.0, 2.0 * math.pi) for m in self._models()}
        self._level = dict.fromkeys(self._mix, 1.0)
        self._replicas = {spec.id: spec.min_replicas for spec in self._specs}
        self._starting: dict[PoolId, list[int]] = {}
        self._decisions = 0

    def snapshot(self) -> Snapshot:
        rates = self._rates()
        offered = {name: sum(r for (_, c), r in rates.items() if c == name) for name in _CLASSES}
        return Snapshot(
            now_s=INTERVAL_S * self._decisions,
            classes=self._fleet.classes,
            pools=tuple(self._view(spec, rates) for spec in self._specs),
            limits=self._limits,
            loads={
                name: ClassLoad(
                    name=name,
                    rate_rps=rate,
                    rate_high_rps=1.05 * rate,
                    isl_tokens=float(_PROMPT_TOKENS[i]),
                    osl_tokens=float(_OUTPUT_TOKENS[i]),
                )
                for i, (name, rate) in enumerate(offered.items())
            },
        )

    def decided(self, replicas: Mapping[PoolId, int]) -> None:
        """Replicas are there at once, but serve only after their start-up."""
        for id, count in replicas.items():
            history = self._starting.setdefault(id, [self._replicas[id]] * _START_UP_DECISIONS)
            history[self._decisions % _START_UP_DECISIONS] = count
            self._replicas[id] = count
        self._decisions += 1
        for key, level in self._level.items():
            self._level[key] = max(0.1, 1.0 + 0.98 * (level - 1.0) + self._random.gauss(0.0, 0.01))
        for capacity in self._capacity.values():
            factor = 1.0 + self._random.gauss(0.0, 0.001)
            for name in capacity:
                capacity[name] *= factor

    def _pools(self, count: int, most: int) -> Iterator[PoolSpec]:
        made = 0
        for model in range(count):
            size = min(count - made, 4 if count <= 4 else self._random.randint(2, most))
            if size <= 0:
                return
            kind = "agg" if size == 1 else self._random.choice(sorted(_MIXES))
            for i in range(size):
                role = _MIXES[kind][i % len(_MIXES[kind])]
                yield self._pool(f"model-{model}", f"{role.value}-{model}-{i}", role)
            made += size

    def _pool(self, model: str, name: str, role: Role) -> PoolSpec:
        gpus = self._random.choice((1, 1, 2, 2, 4, 8))
        gpu_class = self._random.choice(sorted(_SPEEDS))
        usual = max(1, GPUS_PER_POOL // gpus)
        least = self._random.choice((0, 1))
        return PoolSpec(
            id=PoolId(name),
            role=role,
            model=ModelName(model),
            gpus_per_replica=gpus,
            node_group=f"{gpu_class}-nodes",
            gpu_class=gpu_class,
            min_replicas=least,
            max_replicas=4 * usual,
            floor_replicas=least,
            guarantee_replicas=max(least, usual // 2 if self._random.random() < 0.2 else 0),
            weight=self._random.choice((1.0, 1.0, 2.0)),
            start_up_s=INTERVAL_S * _START_UP_DECISIONS,
            profile=EngineProfile(),
            context_limit_tokens=65536,
        )

    def _whole(self, specs: list[PoolSpec]) -> Fleet:
        budget = GPUS_PER_POOL * len(specs)
        of_class = {
            name: sum(GPUS_PER_POOL for spec in specs if spec.gpu_class == name) for name in _SPEEDS
        }
        return Fleet(
            name="drift",
            models=tuple(Model(name=name) for name in sorted({spec.model for spec in specs})),
            classes=tuple(
                RequestClass(
                    name=name,
                    isl_tokens=TokenRange(),
                    osl_tokens=TokenRange(),
                    slo=Slo(ttft_s=1.0, itl_s=0.05),
                    weight=(1.0, 1.0, 2.0, 4.0)[i % 4],
                )
                for i, name in enumerate(_CLASSES)
            ),
            budget=Budget(gpus=budget, by_gpu_class={"H200": of_class["H200"] * 5 // 4 + 8}),
            node_groups=tuple(
                NodeGroup(name=f"{name}-nodes", gpu_class=name, gpus=gpus * 3 // 2 + 8)
                for name, gpus in of_class.items()
            ),
            pools=tuple(specs),
        )

    def _capacity_of(self, spec: PoolSpec) -> dict[ClassName, float]:
        """Slow GPUs do not serve the longest prompts within their targets."""
        speed = 0.8 * _SPEEDS[spec.gpu_class] * spec.gpus_per_replica
        capacity = {}
        for name, prompt, output in zip(_CLASSES, _PROMPT_TOKENS, _OUTPUT_TOKENS, strict=True):
            if prompt > 10_000 and spec.gpu_class == "L40S":
                continue
            work = {
                Role.PREFILL: prompt / _PREFILL_TOKENS_PER_S,
                Role.DECODE: output / _DECODE_TOKENS_PER_S,
                Role.AGG: 1.2 * (prompt / _PREFILL_TOKENS_PER_S + output / _DECODE_TOKENS_PER_S),
            }
            capacity[name] = speed / work[spec.role] * self._random.uniform(0.85, 1.15)
        return capacity

    def _mixes(self) -> dict[tuple[ModelName, ClassName], float]:
        """Requests/s that keep each model's share of the budget busy, in the mean."""
        mixes = {}
        for model in self._models():
            pools = sum(1 for spec in self._specs if spec.model == model)
            gpus = GPUS_PER_POOL * pools * self._random.uniform(0.6, 1.4)
            parts = [self._random.uniform(0.1, 1.0) ** 2 for _ in _CLASSES]
            for i, name in enumerate(_CLASSES):
                work = (
                    _PROMPT_TOKENS[i] / _PREFILL_TOKENS_PER_S
                    + _OUTPUT_TOKENS[i] / _DECODE_TOKENS_PER_S
                )
                mixes[model, name] = 0.7 * gpus * parts[i] / sum(parts) / work
        return mixes

    def _models(self) -> list[ModelName]:
        return [model.name for model in self._fleet.models]

    def _rates(self) -> dict[tuple[ModelName, ClassName], float]:
        turn = 2.0 * math.pi * self._decisions / _SWING_DECISIONS
        return {
            (model, name): mix
            * self._level[model, name]
            * (1.0 + _SWING * math.sin(turn + 0.3 * self._phase[model]))
            for (model, name), mix in self._mix.items()
        }

    def _view(self, spec: PoolSpec, rates: Mapping[tuple[ModelName, ClassName], float]) -> PoolView:
        here = sum(1 for s in self._specs if s.model == spec.model and s.role is not Role.DECODE)
        history = self._starting.get(spec.id)
        serving = min(history) if history else spec.min_replicas
        behind = self._random.random() < 0.02
        return PoolView(
            spec=spec,
            replicas=self._replicas[spec.id],
            ready=min(self._replicas[spec.id], serving),
            capacity_rps=dict(self._capacity[spec.id]),
            backlog_replica_s=self._random.uniform(1.0, 20.0) if behind else 0.0,
            load_rps={name: rates[spec.model, name] / here for name in _CLASSES},
        )


def with_pools(snapshot: Snapshot, pools: tuple[PoolView, ...]) -> Snapshot:
    return dataclasses.replace(snapshot, pools=pools)
