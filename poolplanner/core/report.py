"""From telemetry to the pool's report: observe, forecast, work out capacity.

Unknown stays unknown: without fresh telemetry the report has no load and no backlog, and the
planner that reads it must hold.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from poolplanner.core.backlog import backlog_replica_s
from poolplanner.core.burst import Burstiness
from poolplanner.core.capacity import CapacityTable, Traffic
from poolplanner.core.engine_fit import EngineFit
from poolplanner.core.engine_work import Basis
from poolplanner.core.load import ClassShape, class_loads, class_shapes
from poolplanner.core.observation import Observation
from poolplanner.core.observe import Telemetry
from poolplanner.core.targets import Wishes
from poolplanner.core.targets_fullness import fullness_of
from weir.domain.fleet import PoolSpec, RequestClass
from weir.domain.ids import ClassName, WorkerId
from weir.domain.overrides import ClassTargets, effective_classes
from weir.domain.planning import ClassLoad, Grant, PoolReport, PoolState
from weir.forecast.trend import Forecast, Trend, observe, predict

__all__ = ["Reporter"]

_ISL_PRIOR_TOKENS = 1024.0


@dataclass(slots=True, kw_only=True)
class Reporter:
    """One pool's view of itself. `forecast` is the newest one, for when a start would be ready.

    `classes` are the document's. `wishes`: of a pool that is sized here, by a target of its own.
    """

    spec: PoolSpec
    classes: tuple[RequestClass, ...]
    telemetry: Telemetry
    utilization: float
    osl_prior_tokens: float
    wishes: Wishes | None = None
    forecast: Forecast | None = None
    _trend: Trend | None = None
    _burstiness: Burstiness = field(default_factory=Burstiness)
    _capacity: CapacityTable = field(init=False)
    _engines: EngineFit = field(init=False)

    def __post_init__(self) -> None:
        by_name = {c.name: c for c in self.classes}
        self._capacity = CapacityTable(self.spec, by_name, self.utilization)
        itl_s = max(c.slo.itl_s for c in self.classes)
        self._engines = EngineFit(Basis(self.spec.profile, self.spec.role, itl_s))

    def follow(self, targets: Mapping[ClassName, ClassTargets]) -> None:
        """What classes are to meet from now on, where it differs from the document."""
        effective = effective_classes(self.classes, targets)
        self._capacity.follow({c.name: c for c in effective})

    def report(
        self,
        *,
        sequence: int,
        state: PoolState,
        grant: Grant | None,
        now_s: float,
        withdrawn_at: int | None = None,
        leaving: Collection[WorkerId] = (),
    ) -> PoolReport:
        """What the pool is and can do at `now_s` (model seconds); `grant` is the one in force.

        `withdrawn_at`: it can start no more than this and gives the rest back. `leaving` are
        replicas that are about to end.
        """
        seen = self.telemetry.observe(now_s, ready=state.ready)
        self._learn(seen, now_s)
        shapes = class_shapes(
            self.classes,
            self.telemetry.totals,
            self.telemetry.outputs,
            isl_prior_tokens=_ISL_PRIOR_TOKENS,
            osl_prior_tokens=self.osl_prior_tokens,
        )
        if self._engines.learn(self.telemetry.passes(), now_s):
            self._capacity.measured(self._engines.profile, self._engines.rel_std)
        capacity_rps = self._capacity.capacity_rps(shapes, self._traffic(seen, state))
        load: tuple[ClassLoad, ...] = ()
        if self.forecast is not None:
            load = class_loads(self.forecast, shapes, capacity_rps)
        return PoolReport(
            pool_id=self.spec.id,
            sequence=sequence,
            acted_term=grant.term if grant else 0,
            acted_epoch=grant.epoch if grant else 0,
            acted_replicas=_acted(grant, withdrawn_at),
            state=state,
            capacity_rps=capacity_rps,
            capacity_rel_std=self._engines.rel_std,
            load=load,
            backlog_replica_s=backlog_replica_s(self._capacity, seen, shapes, ready=state.ready),
            telemetry_age_s=seen.age_s,
            ttft_s=seen.ttft_s,
            itl_s=seen.itl_s,
            start_up_s=self.spec.start_up_s,
            role=self.spec.role,
            gpus_per_replica=self.spec.gpus_per_replica,
            withdrawn=withdrawn_at is not None,
            wish=self._wish(seen, _kept(state, grant, withdrawn_at), shapes, leaving, now_s),
        )

    def _wish(
        self,
        seen: Observation,
        kept: PoolState,
        shapes: Mapping[ClassName, ClassShape],
        leaving: Collection[WorkerId],
        now_s: float,
    ) -> int | None:
        if self.wishes is None:
            return None
        fullness = fullness_of(
            self.spec,
            seen,
            [s for s in self.telemetry.engines(now_s) if s.worker_id not in leaving],
            ready=kept.ready,
            isl_tokens=sum(shape.share * shape.isl_tokens for shape in shapes.values()),
        )
        has = kept.ready + kept.starting
        return self.wishes.look(fullness, now_s, ready=kept.ready, has=has)

    def _traffic(self, seen: Observation, state: PoolState) -> Traffic:
        return Traffic(
            rate_rps=self.forecast.mean if self.forecast is not None else None,
            replicas=state.ready + state.starting,
            burstiness=self._burstiness.value,
            cached_share=seen.hit_rate or 0.0,
            accept_length=seen.accept_length or 1.0,
        )

    def _learn(self, seen: Observation, now_s: float) -> None:
        arrivals = self.telemetry.arrivals(now_s)
        if arrivals is not None:
            self._burstiness.see(arrivals)
            self._trend = observe(self._trend, arrivals.rate_rps, now_s, window_s=arrivals.window_s)
        known = seen.rate_rps is not None and self._trend is not None
        self.forecast = (
            predict(self._trend, now_s + self.spec.start_up_s) if known and self._trend else None
        )


def _kept(state: PoolState, grant: Grant | None, withdrawn_at: int | None) -> PoolState:
    """Without replicas that are to go, though they may not have been told yet."""
    if grant is None:
        return state
    most = _acted(grant, withdrawn_at)
    ready = min(state.ready, most)
    return PoolState(ready=ready, starting=min(state.starting, most - ready), terminating=0)


def _acted(grant: Grant | None, withdrawn_at: int | None) -> int:
    granted = grant.replicas if grant is not None else 0
    return granted if withdrawn_at is None else min(granted, withdrawn_at)
