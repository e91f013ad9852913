"""Gateways that know workers, but neither what requests need nor what engines can do.

Each request goes to one of all workers that can do its stage, whatever their pool, as a load
balancer in front of them would send it. Nothing waits at the gateway: engines queue.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from operator import attrgetter
from random import Random

from weir.domain.fleet import Role
from weir.domain.grid import Grid, GridStage
from weir.domain.ids import PoolId
from weir.simulator.call import Call
from weir.simulator.cluster import PoolOfReplicas
from weir.simulator.gateway.front import Front
from weir.simulator.gateway.plain import PlainGateway
from weir.simulator.homes import homes_of
from weir.simulator.policies.first_size import place_first
from weir.simulator.replica import Replica
from weir.simulator.world import World

__all__ = ["CHOICES", "Blind", "ByGrid"]

Choose = Callable[[Sequence[Replica]], Replica]
_IN_FLIGHT = attrgetter("in_flight")


def _random(rng: Random) -> Choose:
    return rng.choice


def _round_robin(rng: Random) -> Choose:
    turns = count(rng.randrange(1 << 16))
    return lambda ready: ready[next(turns) % len(ready)]


def _least_requests(rng: Random) -> Choose:
    """Of several with as few, any: balancers that take the first load it with every burst."""

    def choose(ready: Sequence[Replica]) -> Replica:
        fewest = min(map(_IN_FLIGHT, ready))
        return rng.choice([replica for replica in ready if replica.in_flight == fewest])

    return choose


def _power_of_two(rng: Random) -> Choose:
    """The one of two with fewer requests."""

    def choose(ready: Sequence[Replica]) -> Replica:
        return min(rng.sample(ready, min(2, len(ready))), key=_IN_FLIGHT)

    return choose


CHOICES: Mapping[str, Callable[[Random], Choose]] = {
    "random": _random,
    "round robin": _round_robin,
    "least requests": _least_requests,
    "power of two": _power_of_two,
}


class Blind:
    """A policy: the first size of the fleet for good, and one of `CHOICES` for its workers."""

    def __init__(self, choice: str) -> None:
        self._choice = choice

    def gateway(self, world: World) -> "BlindGateway":
        self._gateway = BlindGateway(world, CHOICES[self._choice](world.random("choice")))
        return self._gateway

    def start(self, world: World) -> None:
        self._gateway.attach()
        place_first(world)


class ByGrid:
    """A policy: the same with a worker of the pool that the scenario's grid says, of least load."""

    def gateway(self, world: World) -> "GridGateway":
        grid = world.scenario.grid
        assert grid is not None
        self._gateway = GridGateway(world, grid, _least_requests(world.random("choice")))
        return self._gateway

    def start(self, world: World) -> None:
        self._gateway.attach()
        place_first(world)


class BlindGateway(PlainGateway):
    def __init__(self, world: World, choose: Choose) -> None:
        super().__init__(world, homes_of(world.fleet, world.fleet.models[0].name))
        self._all = {role: _AnyWorker(role, choose) for role in Role}
        self.fronts = {spec.id: self._all[spec.role] for spec in world.fleet.pools}
        roles = {spec.role for spec in world.fleet.pools}
        self._entry = self._all[Role.PREFILL if Role.PREFILL in roles else Role.AGG]

    def attach(self) -> None:
        """The cluster is there: watch it."""
        self._world.cluster.on_change.append(self._changed)

    def head(self, call: Call) -> Front:
        return self._entry

    def tail(self, call: Call) -> Front:
        return self._all[Role.DECODE]

    def _changed(self, pool: PoolOfReplicas) -> None:
        front = self._all[pool.spec.role]
        front.pools[pool.spec.id] = pool
        front.ready = [replica for each in front.pools.values() for replica in each.ready]
        if front.waiting:
            self._admit(front)


class GridGateway(PlainGateway):
    """Requests state their class's targets."""

    def __init__(self, world: World, grid: Grid, choose: Choose) -> None:
        super().__init__(world, homes_of(world.fleet, world.fleet.models[0].name))
        self.fronts = {spec.id: _AnyWorker(spec.role, choose) for spec in world.fleet.pools}
        self._grid = grid
        self._classes = world.fleet.classes

    def attach(self) -> None:
        self._world.cluster.on_change.append(self._changed)

    def head(self, call: Call) -> Front:
        return self._front(self._grid.head, call)

    def tail(self, call: Call) -> Front:
        assert self._grid.decode is not None
        return self._front(self._grid.decode, call)

    def _front(self, stage: GridStage, call: Call) -> Front:
        slo = self._classes[call.class_index].slo
        number = stage.choose(call.isl_tokens, 1e3 * slo.ttft_s, 1e3 * slo.itl_s, None)
        return self.fronts[stage.pools[number]]

    def _changed(self, pool: PoolOfReplicas) -> None:
        front = self.fronts[pool.spec.id]
        assert isinstance(front, _AnyWorker)
        front.ready = list(pool.ready)
        if front.waiting:
            self._admit(front)


class _AnyWorker(Front):
    """All workers of one role, as if they were one pool."""

    def __init__(self, role: Role, choose: Choose) -> None:
        super().__init__(PoolId(f"any-{role.value}"), role)
        self.pools: dict[PoolId, PoolOfReplicas] = {}
        self.ready: list[Replica] = []
        self._choose = choose

    def choose(self) -> Replica | None:
        return self._choose(self.ready) if self.ready else None
