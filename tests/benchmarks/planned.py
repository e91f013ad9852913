"""A fleet of pools of three roles, eight classes and two routers, and what it measures.

Once a second every router tells what it has sent to each pool, and every engine what it did. Load
drifts by a third up and down and arrives as it does at random; engines are a tenth slower than
their profile, each a little different.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from weir.domain.fleet import Role
from weir.domain.histogram import LogHistogram
from weir.domain.ids import ClassName, PoolId, RouterId, WorkerId
from weir.domain.profile import EngineProfile
from weir.domain.telemetry import ClassTraffic, ForwardPassSample, PoolTraffic, TrafficSample

__all__ = ["CLASSES", "FLEET", "PoolOfFleet", "World", "roles_of"]

FLEET = "planned"
CLASSES = tuple(ClassName(f"{isl}-{osl}") for isl in "smlx" for osl in ("brief", "wordy"))
_ISL_MAX = {"s": 256, "m": 1024, "l": 4096, "x": None}
_LENGTHS = {
    name: (isl, osl)
    for (isl, osl), name in zip(
        [(isl, osl) for isl in (120, 500, 2000, 6000) for osl in (80, 400)], CLASSES, strict=True
    )
}
_SHARES = (0.2, 0.15, 0.2, 0.15, 0.12, 0.08, 0.06, 0.04)
_ROUTERS = 2
_SLOWER = 1.1
_PERIOD_S = 600.0
_RPS_PER_ENGINE = {Role.PREFILL: 1.5, Role.DECODE: 0.5, Role.AGG: 0.5}
_PROFILE = EngineProfile()


def roles_of(pools: int) -> list[Role]:
    """One after the other, so that each of them is there if there are three pools."""
    order = (Role.AGG, Role.PREFILL, Role.DECODE)
    return [order[i % len(order)] for i in range(pools)]


@dataclass(frozen=True, slots=True)
class PoolOfFleet:
    id: PoolId
    role: Role
    engines: int

    @property
    def workers(self) -> list[WorkerId]:
        return [WorkerId(f"{self.id}-{i}") for i in range(self.engines)]


@dataclass(slots=True)
class World:
    """`engines` in each of the pools. Call `second` for each second in turn."""

    roles: Sequence[Role]
    engines: int
    seed: int = 1
    pools: list[PoolOfFleet] = field(init=False)
    _rng: random.Random = field(init=False)
    _pace: dict[WorkerId, float] = field(init=False)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self.pools = [
            PoolOfFleet(PoolId(f"{role.value}-{i}"), role, self.engines)
            for i, role in enumerate(self.roles)
        ]
        self._pace = {
            worker: _SLOWER * self._rng.uniform(0.98, 1.02)
            for pool in self.pools
            for worker in pool.workers
        }

    def document(self) -> str:
        """A Fleet document in which each pool has its engines and no more."""
        classes = "\n".join(
            f"    - {{name: {name}, isl: {{max: {_ISL_MAX[name[0]] or 'null'}}},"
            f" osl: {{max: {200 if name.endswith('brief') else 'null'}}},"
            " ttft_ms: 4000, itl_ms: 100}"
            for name in CLASSES
        )
        pools = "\n".join(
            f"    - {{name: {pool.id}, role: {pool.role.value}, model: m,"
            f" min_replicas: {pool.engines}, max_replicas: {pool.engines},"
            " scaling: {kind: local}}"
            for pool in self.pools
        )
        gpus = sum(pool.engines for pool in self.pools)
        return f"""\
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {{name: {FLEET}}}
spec:
  models: [{{name: m}}]
  classes:
{classes}
  budget: {{gpus: {gpus}}}
  pools:
{pools}
  planner: {{interval_s: 1.0}}
"""

    def second(self, number: int) -> tuple[list[TrafficSample], Iterator[ForwardPassSample]]:
        """What routers and engines send at the end of it; numbers begin at 1."""
        return self._traffic(number), self._passes(number)

    def _load(self, number: int) -> float:
        return 1.0 + math.sin(2.0 * math.pi * number / _PERIOD_S) / 3.0

    def _traffic(self, number: int) -> list[TrafficSample]:
        samples = []
        for router in range(_ROUTERS):
            pools = tuple(self._pool_traffic(pool, number) for pool in self.pools)
            entered = sum(
                traffic.arrivals
                for pool, traffic in zip(self.pools, pools, strict=True)
                if pool.role is not Role.DECODE
            )
            samples.append(
                TrafficSample(
                    router_id=RouterId(f"router-{router}"),
                    sequence=number,
                    window_s=1.0,
                    classes=tuple(self._class_traffic(name, entered) for name in CLASSES),
                    pools=pools,
                )
            )
        return samples

    def _pool_traffic(self, pool: PoolOfFleet, number: int) -> PoolTraffic:
        rate_rps = self._load(number) * _RPS_PER_ENGINE[pool.role] * pool.engines / _ROUTERS
        arrivals, completed = self._count(rate_rps), self._count(rate_rps)
        return PoolTraffic(
            pool_id=pool.id,
            arrivals=arrivals,
            isl_tokens=arrivals * _mean(0),
            completed=completed,
            osl_tokens=completed * _mean(1),
            in_flight=pool.engines * 10 // _ROUTERS,
            queued_tokens=self._count(rate_rps) * 300,
            first_token_s=self._durations(arrivals, 0.4),
            itl_s=self._durations(completed, 0.04),
        )

    def _class_traffic(self, name: ClassName, arrivals: int) -> ClassTraffic:
        share, (isl_tokens, osl_tokens) = _SHARES[CLASSES.index(name)], _LENGTHS[name]
        count, completed = self._count(share * arrivals), self._count(share * arrivals)
        return ClassTraffic(
            name=name,
            arrivals=count,
            isl_tokens=round(count * isl_tokens * self._rng.uniform(0.8, 1.2)),
            completed=completed,
            osl_tokens=round(completed * osl_tokens * self._rng.uniform(0.8, 1.2)),
            ttft_s=self._durations(completed, 0.5),
            itl_s=self._durations(completed, 0.04),
        )

    def _passes(self, number: int) -> Iterator[ForwardPassSample]:
        for pool in self.pools:
            for worker in pool.workers:
                yield self._forward_pass(pool, worker, number)

    def _forward_pass(self, pool: PoolOfFleet, worker: WorkerId, number: int) -> ForwardPassSample:
        busy_s = min(1.0, 0.6 * self._load(number) * self._rng.uniform(0.9, 1.1))
        sequences = 0 if pool.role is Role.PREFILL else round(24 * self._load(number))
        kv_tokens = sequences * 1500
        decode_s = _PROFILE.timing.decode_time_s(sequences, kv_tokens / _PROFILE.kv_tokens)
        share = 0.0 if pool.role is Role.DECODE else 1.0 if pool.role is Role.PREFILL else 0.3
        prompt_tokens = self._rng.randint(600, 3000)
        prefill_s = share * _PROFILE.timing.prefill_time_s(prompt_tokens)
        iterations = max(1, round(busy_s / (self._pace[worker] * (decode_s + prefill_s))))
        prefills = round(share * iterations)
        return ForwardPassSample(
            pool_id=pool.id,
            worker_id=worker,
            sequence=number,
            window_s=1.0,
            running=sequences,
            waiting=self._rng.randint(0, 2),
            iterations=iterations,
            busy_s=self._pace[worker]
            * (iterations * decode_s + prefills * prefill_s / max(1e-9, share)),
            prefill_tokens=prefills * prompt_tokens,
            decode_tokens=iterations * sequences,
            waiting_tokens=self._rng.randint(0, 2000),
            kv_used_tokens=kv_tokens,
            kv_total_tokens=_PROFILE.kv_tokens,
            completed=1,
            cached_tokens=prefills * 100,
            prefill_iterations=prefills,
        )

    def _count(self, mean: float) -> int:
        """About Poisson."""
        return max(0, round(self._rng.gauss(mean, math.sqrt(max(0.0, mean)))))

    def _durations(self, count: int, about_s: float) -> LogHistogram:
        histogram = LogHistogram()
        for _ in range(count):
            histogram.add(about_s * self._rng.lognormvariate(0.0, 0.5))
        return histogram


def _mean(which: int) -> int:
    return round(sum(share * _LENGTHS[n][which] for share, n in zip(_SHARES, CLASSES, strict=True)))
