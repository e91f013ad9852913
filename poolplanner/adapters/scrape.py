"""Looks at what engines show at /metrics: at all of a pool's replicas at a low rate, or at one."""

import asyncio
from collections.abc import Callable, Sequence

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from poolplanner.adapters.http import fetch
from poolplanner.core.engine_metrics import Page, Reading, page_of, reading, sample_between
from poolplanner.core.engine_names import NAMES
from poolplanner.core.observe import Telemetry
from poolplanner.core.replicas import Replica, ReplicaState
from poolplanner.troubles import Troubles
from weir.domain.errors import UnavailableError
from weir.domain.ids import PoolId, WorkerId
from weir.domain.telemetry import ForwardPassSample
from weir.runtime.clock import Clock

__all__ = ["EnginePage", "EngineScraper", "parse"]

_EVERY_S = 5.0
_TIMEOUT_S = 2.0
_MOST_BYTES = 8 * 2**20
_AT_ONCE = 16

Replicas = Callable[[], Sequence[Replica]]


def parse(text: str) -> Page:
    """What is read of a page in Prometheus's text format. Raises `ValueError` if it is none."""
    wanted = [line for line in text.splitlines() if line[: _end_of_name(line)] in NAMES]
    families = text_string_to_metric_families("\n".join([*wanted, ""]))
    try:
        return page_of((s.name, s.labels, s.value) for family in families for s in family.samples)
    except Exception as error:  # the parser fails in many ways on what is no exposition
        raise ValueError(f"not understood: {error!r}") from None


class EnginePage:
    """One engine's /metrics. Sequences begin above `sequence`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        pool_id: PoolId,
        worker_id: WorkerId,
        *,
        sequence: int = 0,
    ) -> None:
        self.url = url
        self._session = session
        self._pool = pool_id
        self._worker = worker_id
        self._sequence = sequence
        self._before: tuple[float, Reading] | None = None

    async def look(self, clock: Clock) -> ForwardPassSample:
        """The window since the last look; raises `UnavailableError`."""
        status, body = await fetch(
            self._session, self.url, timeout_s=_TIMEOUT_S, most_bytes=_MOST_BYTES
        )
        if status != 200:
            raise UnavailableError(f"{self.url}: status {status}")
        try:
            now = reading(parse(body.decode("utf-8", "replace")))
        except ValueError as error:
            raise UnavailableError(f"{self.url}: {error}") from None
        if now is None:
            raise UnavailableError(f"{self.url}: shows no metrics of an engine that is known")
        now_s = clock.now_s()
        at_s, before = self._before or (now_s, None)
        self._before = (now_s, now)
        self._sequence += 1
        return sample_between(
            before,
            now,
            pool_id=self._pool,
            worker_id=self._worker,
            sequence=self._sequence,
            window_s=now_s - at_s,
        )


class EngineScraper:
    """One pool's. `replicas`: those that there are now; ready ones with an address are asked."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        pool_id: PoolId,
        replicas: Replicas,
        telemetry: Telemetry,
        clock: Clock,
        troubles: Troubles,
    ) -> None:
        self._session = session
        self._pool = pool_id
        self._replicas = replicas
        self._telemetry = telemetry
        self._clock = clock
        self._troubles = troubles
        self._pages: dict[WorkerId, EnginePage] = {}
        self._few = asyncio.Semaphore(_AT_ONCE)

    async def run(self) -> None:
        """Look every few wall seconds, for ever."""
        while True:
            began_s = self._clock.wall_s()
            await self.look()
            await asyncio.sleep(max(0.1, _EVERY_S - (self._clock.wall_s() - began_s)))

    async def look(self) -> None:
        """Ask all at once; those that do not answer say nothing."""
        asked = [r for r in self._replicas() if r.state is not ReplicaState.STARTING and r.port]
        self._pages = {replica.id: self._page(replica) for replica in asked}
        answers = await asyncio.gather(*map(self._ask, self._pages.values()))
        errors = [error for error in answers if error is not None]
        if errors:
            self._troubles.failed("telemetry", errors[0])
        elif asked:
            self._troubles.recovered("telemetry")

    def _page(self, replica: Replica) -> EnginePage:
        """The one there is, unless the replica has moved."""
        host = f"[{replica.host}]" if ":" in replica.host else replica.host
        url = f"http://{host}:{replica.port}/metrics"
        known = self._pages.get(replica.id)
        if known is not None and known.url == url:
            return known
        return EnginePage(self._session, url, self._pool, replica.id)

    async def _ask(self, page: EnginePage) -> UnavailableError | None:
        try:
            async with self._few:
                sample = await page.look(self._clock)
        except UnavailableError as error:
            return error
        self._telemetry.on_forward_pass(sample, self._clock.now_s())
        return None


def _end_of_name(line: str) -> int:
    ends = [at for at in (line.find("{"), line.find(" ")) if at >= 0]
    return min(ends, default=len(line))
