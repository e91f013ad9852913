"""The plain gateway of somebody who knows how fast engines are: what a home cannot do in time,
another pool may.

Calls stay at home as long as it is not busy. A prompt for which the home would use up half of
its TTFT target goes where it is prefilled soonest, if that is within half of the target; a call
for whose decoding the home has no room goes to the pool with the most room left.
"""

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING

from weir.domain.fleet import PoolSpec, Role
from weir.domain.ids import PoolId
from weir.simulator.call import Call
from weir.simulator.gateway.front import Front
from weir.simulator.gateway.plain import Cap, PlainGateway
from weir.sizing.capacity import prefill_backlog_s

if TYPE_CHECKING:
    from weir.simulator.homes import Homes
    from weir.simulator.world import World

__all__ = ["OverflowGateway"]

_SHARE = 0.5


class OverflowGateway(PlainGateway):
    def __init__(self, world: "World", homes: "Homes", cap: Cap) -> None:
        super().__init__(world, homes, cap)
        profiles = world.scenario.profiles
        self._token_s = {id: prefill_backlog_s(profiles[id], 1.0) for id in self.fronts}
        specs = {spec.id: spec for spec in world.fleet.pools}
        self._others = {
            id: tuple(self.fronts[other] for other in _like(spec, specs) if other in homes.pools)
            for id, spec in specs.items()
        }
        self._patience_s = [_SHARE * c.slo.ttft_s for c in world.fleet.classes]

    def head(self, call: Call) -> Front:
        home = super().head(call)
        if home.role is not Role.PREFILL:
            return self._with_room(home)
        patience_s = self._patience_s[call.class_index]
        if self._done_in_s(home, call) <= patience_s:
            return home
        quickest, least_s = home, patience_s
        for other in self._others[home.pool_id]:
            done_s = self._done_in_s(other, call)
            if done_s < least_s:
                quickest, least_s = other, done_s
        return quickest

    def tail(self, call: Call) -> Front:
        return self._with_room(super().tail(call))

    def _done_in_s(self, front: Front, call: Call) -> float:
        """Until the prompt would be prefilled there; infinite where nothing has room."""
        best = front.choose()
        if best is None:
            return inf
        return (best.load + call.isl_tokens) * self._token_s[front.pool_id]

    def _with_room(self, home: Front) -> Front:
        if not home.waiting and home.choose() is not None:
            return home
        emptiest, least = home, 1.0
        for other in self._others[home.pool_id]:
            best = other.choose() if not other.waiting else None
            if best is not None and best.load / best.cap < least:
                emptiest, least = other, best.load / best.cap
        return emptiest


def _like(spec: PoolSpec, specs: Mapping[PoolId, PoolSpec]) -> list[PoolId]:
    """Other pools that could do what this one does."""
    return [
        other.id
        for other in specs.values()
        if other.id != spec.id
        and (other.role, other.model, other.dialect) == (spec.role, spec.model, spec.dialect)
        and other.context_limit_tokens >= spec.context_limit_tokens
    ]
