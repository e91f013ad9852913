"""Grid, pool planners and global budget together."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from weir.domain.errors import WeirError
from weir.domain.fleet import PoolSpec
from weir.domain.ids import PoolId
from weir.simulator.gateway.port import Gateway
from weir.simulator.homes import Homes, homes_of
from weir.simulator.policies.autoscaled import scale
from weir.simulator.policies.caps import Limit, class_indices, document_caps, limits
from weir.simulator.policies.deployments import Deployments, within
from weir.simulator.policies.dynamo.budget import GlobalBudget
from weir.simulator.policies.dynamo.engine import EngineKnown
from weir.simulator.policies.dynamo.gateway import GridGateway
from weir.simulator.policies.dynamo.planner import PoolPlanner, SlaPlanner, ThresholdPlanner
from weir.simulator.policies.dynamo.predictors import PREDICTORS
from weir.simulator.policies.dynamo.thresholds import Target
from weir.simulator.policies.observer import Observer
from weir.simulator.policies.port import Policy
from weir.simulator.policies.scaler import Wish
from weir.simulator.policies.seen import PoolSeen
from weir.simulator.policies.traffic import TrafficMeter

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["DynamoScaler", "make"]

_Planners = Mapping[PoolId, PoolPlanner]


class DynamoScaler:
    """Pools ask in the document's order, and the budget answers in that order."""

    interval_s = 5.0

    def __init__(self, planners: _Planners, budget: GlobalBudget) -> None:
        self._planners = planners
        self._budget = budget

    def desired(self, seen: Mapping[PoolId, PoolSeen], now_s: float) -> Mapping[PoolId, Wish]:
        current = {pool_id: pool.wanted for pool_id, pool in seen.items()}
        wishes: dict[PoolId, Wish] = {}
        for pool_id, pool in seen.items():
            wish = self._planners[pool_id].tick(pool, now_s)
            replicas = within(pool.spec, wish.replicas)
            if replicas == current[pool_id]:
                continue
            granted = self._budget.ask(pool_id, replicas, current, now_s) or {}
            current.update(granted)
            for other, count in granted.items():
                own = other == pool_id
                reason = wish.reason if own else f"an old wish, granted along with {pool_id}'s"
                wishes[other] = Wish(count, reason)
        return wishes


class DynamoPolicy:
    def __init__(self, planners: Callable[["World", Homes], _Planners]) -> None:
        self._planners = planners
        self._homes: Homes | None = None
        self._gateway: GridGateway | None = None
        self._meter: TrafficMeter | None = None

    def gateway(self, world: "World") -> Gateway:
        self._homes = homes_of(world.fleet, world.fleet.models[0].name)
        self._meter = TrafficMeter(world)
        cap = document_caps(world.scenario, self._homes)
        self._gateway = GridGateway(world, self._homes, cap, self._meter)
        return self._gateway

    def start(self, world: "World") -> None:
        assert self._gateway is not None
        assert self._homes is not None
        assert self._meter is not None
        self._gateway.attach()
        world.on_end.append(self._meter.ended)
        deployments = Deployments(world)
        deployments.place(world.scenario.first_size)
        gpus = {spec.id: spec.gpus_per_replica for spec in world.fleet.pools}
        budget = GlobalBudget(gpus, world.fleet.budget.gpus)
        scaler = DynamoScaler(self._planners(world, self._homes), budget)
        scale(world, scaler, deployments, Observer(world, self._meter))


def make(argument: str) -> Policy:
    """`throughput`, `latency` or `sla`, which may name its predictor: `sla:constant`."""
    kind, _, predictor = argument.partition(":")
    if kind == "sla":
        predictor = predictor or "kalman"
        if predictor not in PREDICTORS:
            raise WeirError(
                f"policy dynamo-sla: predictor {predictor!r} is none of {', '.join(PREDICTORS)}"
            )
        return DynamoPolicy(lambda world, homes: _sla_planners(world, homes, predictor))
    target = Target(kind)
    return DynamoPolicy(
        lambda world, homes: {
            spec.id: ThresholdPlanner(target, spec.role) for spec in world.fleet.pools
        }
    )


def _sla_planners(world: "World", homes: Homes, predictor: str) -> _Planners:
    limit = limits(world.scenario, homes)
    return {
        spec.id: _sla_planner(world, homes, spec, limit, predictor) for spec in world.fleet.pools
    }


def _sla_planner(
    world: "World", homes: Homes, spec: PoolSpec, limit: Limit, predictor: str
) -> SlaPlanner:
    """Its targets are the tightest of the classes at home in the pool."""
    slos = [world.fleet.classes[index].slo for index in class_indices(spec, homes)]
    return SlaPlanner(
        EngineKnown(spec, int(limit(spec, spec.profile))),
        predictor,
        ttft_s=min(slo.ttft_s for slo in slos),
        itl_s=min(slo.itl_s for slo in slos),
    )
