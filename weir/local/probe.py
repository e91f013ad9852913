"""Short questions to engines and roles over HTTP. An answer that does not come is None."""

import re

from weir.http1.client import Pool, UpstreamError
from weir.local.ports import HOST

__all__ = ["HttpProbe", "counters_by_label"]

_TIMEOUT_S = 2.0
_IN_FLIGHT = re.compile(rb"^vllm:num_requests_(?:running|waiting)(?:\{[^}\n]*\})? (\S+)", re.M)


class HttpProbe:
    """Asks processes on loopback; never raises, never waits longer than two seconds."""

    def __init__(self) -> None:
        self._pools: dict[int, Pool] = {}

    async def get(self, port: int, path: str) -> tuple[int, bytes] | None:
        """Status and body; None if there is no answer."""
        if port not in self._pools:
            self._pools[port] = Pool(HOST, port, connect_timeout_s=_TIMEOUT_S, max_idle=1)
        try:
            response = await self._pools[port].request("GET", path, timeout_s=_TIMEOUT_S)
        except UpstreamError:
            return None
        return response.status, response.body

    async def ready(self, port: int) -> bool:
        answer = await self.get(port, "/health")
        return answer is not None and answer[0] == 200

    async def in_flight(self, port: int) -> int | None:
        """Requests that an engine runs or holds waiting, from its metrics."""
        answer = await self.get(port, "/metrics")
        if answer is None or answer[0] != 200:
            return None
        values = _IN_FLIGHT.findall(answer[1])
        return round(sum(float(value) for value in values)) if values else None

    def forget(self, port: int) -> None:
        """Nobody listens there any more."""
        if pool := self._pools.pop(port, None):
            pool.close()

    def close(self) -> None:
        for port in list(self._pools):
            self.forget(port)


def counters_by_label(text: bytes, metric: str, label: str) -> dict[str, float]:
    """Values of one metric by one label, summed over the others."""
    line = re.compile(rf'^{metric}\{{[^}}\n]*\b{label}="([^"]*)"[^}}\n]*\}} (\S+)', re.M)
    totals: dict[str, float] = {}
    for value_of_label, value in line.findall(text.decode(errors="replace")):
        totals[value_of_label] = totals.get(value_of_label, 0.0) + float(value)
    return totals
