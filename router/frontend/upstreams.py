"""Connections to engines: one pool per address, dropped when long unused."""

import asyncio

from router.frontend.ports import FrontendSettings
from weir.domain.planning import WorkerEndpoint
from weir.http1.client import Pool

__all__ = ["Upstreams"]

_UNUSED_S = 300.0
_LOOK_EVERY_S = 60.0


class Upstreams:
    def __init__(self, settings: FrontendSettings) -> None:
        self._settings = settings
        self._pools: dict[tuple[str, int], tuple[Pool, list[float]]] = {}
        self._time = asyncio.get_running_loop().time
        self._look_at = 0.0

    def pool(self, worker: WorkerEndpoint) -> Pool:
        """The connections to this worker's address."""
        now = self._time()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY_S
            self._drop_unused(now)
        key = (worker.host, worker.port)
        known = self._pools.get(key)
        if known is None:
            timeout_s = self._settings.connect_timeout_s
            known = (Pool(worker.host, worker.port, connect_timeout_s=timeout_s), [now])
            self._pools[key] = known
        known[1][0] = now
        return known[0]

    @property
    def connections(self) -> int:
        """Open connections, idle ones included. May be asked in any thread."""
        return sum(pool.connections for pool, _ in list(self._pools.values()))

    def close(self) -> None:
        """Break all connections."""
        for pool, _ in self._pools.values():
            pool.close()
        self._pools.clear()

    def _drop_unused(self, now: float) -> None:
        for key, (pool, used_at) in list(self._pools.items()):
            if now - used_at[0] > _UNUSED_S and not pool.connections:
                pool.close()
                del self._pools[key]
