"""By how much a limit may be exceeded because no planner can know better yet.

A lowered budget is known a while after every GlobalPlanner has read it, once no earlier grant lets
a pool have more than it holds. Replicas that somebody has started by hand are known a while after
they are gone or granted: a report that tells of them, or does not yet, may still be on its way.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from globalplanner.core.budget.limits import Limit
from weir.domain.fleet import PoolSpec
from weir.domain.ids import PoolId

if TYPE_CHECKING:
    from weir.simulator.roles.together import Roles
    from weir.simulator.world import World

__all__ = ["Unknown"]

_KNOWN_S = 30.0
"""After so long nobody acts any more on replicas that are gone or granted."""


@dataclass(slots=True)
class _Edit:
    """Replicas started by hand that no grant covers; so many were there at `seen_s`."""

    spec: PoolSpec
    replicas: int
    seen_s: float


@dataclass(slots=True)
class _Lowered:
    """A limit was lowered by so much; planners have `heard` of it or not."""

    limit: str
    by: int
    heard: Callable[[], bool]


class Unknown:
    def __init__(self, world: "World") -> None:
        self._world = world
        self._edits: list[_Edit] = []
        self._lowered: list[_Lowered] = []
        self._uncovered: dict[PoolId, int] = {}

    def __bool__(self) -> bool:
        return bool(self._edits or self._lowered)

    def under(self, limit: Limit) -> int:
        """GPUs, or watts, now."""
        self._lowered = [lowered for lowered in self._lowered if not lowered.heard()]
        by_hand = sum(
            limit.used({edit.spec.id: edit.replicas * edit.spec.gpus_per_replica})
            for edit in self._edits
        )
        return by_hand + sum(each.by for each in self._lowered if each.limit == limit.name)

    def edited(self, spec: PoolSpec, replicas: int) -> None:
        """Somebody has started replicas by hand."""
        self._edits.append(_Edit(spec, replicas, self._world.now_s))

    def lowered(self, limit: Limit, by: int) -> None:
        """A limit has been lowered."""
        self._lowered.append(_Lowered(limit.name, by, self._all_heard(limit.pools)))

    def changed(self, pool_id: PoolId, *, held: int, granted: int) -> None:
        """The pool has changed: until now it was as it was seen before."""
        now_s, uncovered = self._world.now_s, max(0, held - granted)
        for edit in self._edits:
            if edit.spec.id != pool_id:
                continue
            if self._uncovered.get(pool_id, 0) >= edit.replicas:
                edit.seen_s = now_s
            elif now_s - edit.seen_s > _KNOWN_S:
                edit.replicas = uncovered
        self._uncovered[pool_id] = uncovered
        self._edits = [edit for edit in self._edits if edit.replicas]

    def _all_heard(self, pools: Collection[PoolId]) -> Callable[[], bool]:
        """Tells whether every living GlobalPlanner has known for long, and promised no more."""
        world, known_s = self._world, inf

        def all_have() -> bool:
            nonlocal known_s
            roles = world.roles
            assert roles is not None
            living = [role for role in roles.global_planners if role.process.alive]
            if any(role.has_read is not world.fleet for role in living) or roles.operator.busy:
                known_s = inf
                return False
            known_s = min(known_s, world.now_s)
            return world.now_s - known_s > _KNOWN_S and _promised(roles, pools) == 0

        return all_have


def _promised(roles: "Roles", pools: Collection[PoolId]) -> int:
    """GPUs that pools do not hold but were granted once; more than 0 while nobody leads."""
    leader = roles.leader()
    if leader is None or leader.planner is None or leader.planner.ledger is None:
        return 1
    accounts = leader.planner.ledger.accounts
    return sum(accounts[id].reserved - accounts[id].seen for id in pools if id in accounts)
