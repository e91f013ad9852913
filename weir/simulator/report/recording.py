"""What the report needs of a run and the summary does not have: how things went over time."""

from dataclasses import dataclass, field
from typing import Any

from weir.domain.ids import PoolId
from weir.simulator.policies.port import Planning, PlanSample, Policy
from weir.simulator.replica import Phase
from weir.simulator.world import LEAD_IN_S, World

__all__ = ["PoolSamples", "Recording"]

_INTERVAL_S = 10.0
_MOST_SAMPLES = 2000


@dataclass(slots=True)
class PoolSamples:
    """One entry for each instant of `Recording.at_s`."""

    ready: list[int] = field(default_factory=list)
    starting: list[int] = field(default_factory=list)
    ending: list[int] = field(default_factory=list)
    gpus: list[int] = field(default_factory=list)
    queued: list[int] = field(default_factory=list)


class Recording:
    """`attach` it to a world, and let it `hear` the journal."""

    def __init__(self) -> None:
        self.interval_s = _INTERVAL_S
        self.at_s: list[float] = []
        self.pools: dict[PoolId, PoolSamples] = {}
        self.budget_gpus: list[int] = []
        self.plans: list[PlanSample] = []
        """Empty if the policy has none to show."""
        self.faults: list[dict[str, Any]] = []
        self._policy: Policy | None = None

    def attach(self, world: World, policy: Policy) -> None:
        scenario = world.scenario
        span_s = scenario.end_s - scenario.start_s
        self.interval_s = _INTERVAL_S * max(1.0, -(-span_s // (_INTERVAL_S * _MOST_SAMPLES)))
        self.pools = {id: PoolSamples() for id in world.cluster.pools}
        self._policy = policy
        world.every(self.interval_s, lambda: self._sample(world), first_s=LEAD_IN_S)

    def hear(self, event: dict[str, Any]) -> None:
        """Keeps faults; steps are in the journal itself."""
        if event["event"] == "fault":
            self.faults.append(event)

    def _sample(self, world: World) -> None:
        if world.now_s > world.scenario.end_s:
            return
        self.at_s.append(world.now_s)
        self.budget_gpus.append(world.fleet.budget.gpus)
        for id, pool in world.cluster.pools.items():
            samples = self.pools[id]
            samples.ready.append(len(pool.ready))
            samples.starting.append(pool.phase_count(Phase.STARTING))
            samples.ending.append(pool.phase_count(Phase.TERMINATING))
            samples.gpus.append(pool.gpus)
            samples.queued.append(world.gateway.queued(id))
        if isinstance(self._policy, Planning):
            self.plans.append(self._policy.sample())
