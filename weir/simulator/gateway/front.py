"""One pool as a plain gateway sees it: its ready replicas, and the calls in line for it."""

from collections import deque
from operator import attrgetter

from weir.domain.fleet import Role
from weir.domain.ids import PoolId
from weir.simulator.call import Call
from weir.simulator.cluster import PoolOfReplicas
from weir.simulator.replica import Replica

__all__ = ["Front"]

_LOAD = attrgetter("load")


class Front:
    """`waiting` calls have it as their `state`.

    `pending` has them in order, and perhaps others that wait no longer.
    """

    __slots__ = ("pending", "pool", "pool_id", "role", "waiting")

    def __init__(self, pool_id: PoolId, role: Role) -> None:
        self.pool_id = pool_id
        self.role = role
        self.pool: PoolOfReplicas | None = None
        self.pending: deque[Call] = deque()
        self.waiting = 0

    def choose(self) -> Replica | None:
        """The least loaded replica with room."""
        assert self.pool is not None
        ready = self.pool.ready
        if not ready:
            return None
        best = min(ready, key=_LOAD)
        if best.load < best.cap:
            return best
        return min((r for r in ready if r.load < r.cap), key=_LOAD, default=None)

    def tidy(self) -> None:
        """Drop those from the head of the line that wait no longer."""
        pending = self.pending
        while pending and pending[0].state is not self:
            pending.popleft()
