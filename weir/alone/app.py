"""Runs pool planners and the planner of their budget in one process.

They are the very same as elsewhere, put together here because they do not know each other: what
differs is that reports do not cross a network, and that nobody else shares the budget.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from globalplanner.adapters.nats import NatsPlans, NatsRecords
from globalplanner.core.operators.proposals import Gate
from globalplanner.decisions.decided import Decided
from globalplanner.fits import Fits
from globalplanner.leadership import Leadership, Lease
from globalplanner.metrics import Metrics
from globalplanner.parts import mode_of, owner_name, planner_of
from globalplanner.ports import RecordStore
from globalplanner.publisher import Publisher
from globalplanner.reload import Reload
from globalplanner.service import GlobalPlanner
from globalplanner.warm_up import predicted_for
from poolplanner import app
from poolplanner.config import PoolPlannerConfig
from poolplanner.core.portion import portion_of
from poolplanner.granting import Granting
from weir.alone.fleet import alone
from weir.alone.grants import LocalGrants
from weir.alone.records import MemoryRecords
from weir.domain.errors import FleetError, InfeasibleFloorsError
from weir.domain.fleet import Fleet
from weir.domain.ids import PoolId
from weir.domain.telemetry import TrafficSample
from weir.fleet import LoadedFleet
from weir.fleet.settings import PrometheusTelemetry
from weir.runtime.bus import Bus
from weir.runtime.clock import Clock
from weir.runtime.lifecycle import Stop
from weir.runtime.names import alone_key
from weir.runtime.signal import Signal

__all__ = ["Alone", "run"]

_log = logging.getLogger("weir.alone")
_REFRESH_S = 5.0
_LAST_WRITE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """`budget_gpus`: None is what the document says. `follows`: the document may change live."""

    budget_gpus: int | None = None
    follows: bool = True


async def run(
    config: PoolPlannerConfig, alone_as: Alone, loaded: LoadedFleet, clock: Clock, stop: Stop
) -> None:
    """Plan the pools with a budget of their own until `stop`. Replicas are left running.

    Raises `FleetError` if a pool is not there or what is set aside does not fit the budget, and
    whatever `poolplanner.app.run` raises.
    """
    pools = frozenset(PoolId(name) for name in config.pools)
    planned = partial(alone, pools=pools, budget_gpus=alone_as.budget_gpus)
    fleet = planned(loaded.fleet)
    if not fleet.pools:
        raise FleetError(str(loaded.path), [f"there is no pool {', '.join(sorted(pools))}"])
    metrics = Metrics(pool.id for pool in fleet.pools)
    async with AsyncExitStack() as stack:
        bus = await _bus(config, stack)
        changed = Signal(stop)
        leadership = Leadership(
            _records(bus, fleet, metrics),
            clock,
            Lease(),
            owner=owner_name(),
            changed=changed,
            announce=_announce,
        )
        gate = Gate(mode_of(loaded.planner, advisory=config.advisory))
        predicted = await predicted_for(fleet, loaded, clock)
        try:
            planner = planner_of(
                fleet,
                loaded.planner,
                clock,
                metrics,
                leadership,
                changed,
                gate=gate,
                predicted=predicted,
            )
        except InfeasibleFloorsError as error:
            raise FleetError(str(loaded.path), [f"{error}; raise --budget"]) from None
        planner.on_decision.append(partial(_tell, gate))
        work = [
            asyncio.create_task(leadership.run(planner, stop)),
            asyncio.create_task(planner.run(stop)),
        ]
        if predicted is not None:
            work.append(asyncio.create_task(Fits(predicted, clock).run(stop)))
        if alone_as.follows:
            reload = Reload(
                planner,
                gate,
                loaded,
                metrics,
                clock.unix_s,
                advisory=config.advisory,
                planned=planned,
            )
            work.append(asyncio.create_task(reload.run(stop)))
        if bus is not None and len(fleet.pools) == len(loaded.fleet.pools):
            plans = Publisher(NatsPlans(bus, fleet.name), clock, refresh_s=_REFRESH_S)
            work.append(asyncio.create_task(plans.run(planner, stop)))
        stack.push_async_callback(_end, work, stop)
        granting = Granting(
            source_of=LocalGrants(planner).source_of,
            heard=_offered(planner, loaded, pools, clock),
            stands_by=planner.not_ready,
            registries=(metrics.registry,),
        )
        await app.run(config, loaded, clock, stop, granting=granting)


async def _bus(config: PoolPlannerConfig, stack: AsyncExitStack) -> Bus | None:
    if config.nats is None:
        return None
    bus = await Bus.connect(config.nats, name=f"alone {','.join(config.pools)}", wait_s=0.5)
    stack.push_async_callback(bus.close)
    return bus


def _records(bus: Bus | None, fleet: Fleet, metrics: Metrics) -> RecordStore:
    """With NATS a second process of the same pools stands by."""
    if bus is None:
        return MemoryRecords()
    return NatsRecords(bus, fleet.name, metrics, key=alone_key(pool.id for pool in fleet.pools))


def _offered(
    planner: GlobalPlanner, loaded: LoadedFleet, pools: frozenset[PoolId], clock: Clock
) -> Callable[[TrafficSample], None]:
    """Takes over what is offered to these pools, of samples that may be of the whole fleet."""
    if isinstance(loaded.planner.telemetry, PrometheusTelemetry):
        return planner.on_traffic  # it counts only what came to the pools
    portion = portion_of(loaded.fleet, pools)
    return lambda sample: planner.on_traffic(portion.of(sample, clock.now_s()))


def _tell(gate: Gate, decided: Decided) -> None:
    """What would have been done, by who only gives advice."""
    wanted = decided.decision.replicas
    for pool_id, count in decided.after.items():
        if wanted[pool_id] != count:
            why = decided.decision.reasons[pool_id]
            _log.info("%s pool=%s replicas=%d: %s", gate.outcome, pool_id, wanted[pool_id], why)


async def _announce(leading: bool) -> None:
    """Nobody asks who leads."""


async def _end(work: list["asyncio.Task[None]"], stop: Stop) -> None:
    """After a stop they have a moment to end by themselves."""
    if stop.requested:
        await asyncio.wait(work, timeout=_LAST_WRITE_S)
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)
