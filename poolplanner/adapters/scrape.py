"""Looks at /metrics of a pool's replicas, at a low rate."""

import asyncio
import itertools
from collections.abc import Callable, Sequence

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from poolplanner.adapters.http import fetch
from poolplanner.core.engine_metrics import NAMES, Page, Reading, page_of, reading, sample_between
from poolplanner.core.observe import Telemetry
from poolplanner.core.replicas import Replica, ReplicaState
from poolplanner.troubles import Troubles
from weir.domain.errors import UnavailableError, WeirError
from weir.domain.ids import PoolId, WorkerId
from weir.runtime.clock import Clock

__all__ = ["EngineScraper", "parse"]

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
        self._seen: dict[WorkerId, tuple[float, Reading]] = {}
        self._sequences = itertools.count(1)
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
        ids = {replica.id for replica in asked}
        self._seen = {k: seen for k, seen in self._seen.items() if k in ids}
        answers = await asyncio.gather(*map(self._ask, asked))
        errors = [error for error in answers if error is not None]
        if errors:
            self._troubles.failed("telemetry", errors[0])
        elif asked:
            self._troubles.recovered("telemetry")

    async def _ask(self, replica: Replica) -> WeirError | None:
        host = f"[{replica.host}]" if ":" in replica.host else replica.host
        url = f"http://{host}:{replica.port}/metrics"
        try:
            async with self._few:
                status, body = await fetch(
                    self._session, url, timeout_s=_TIMEOUT_S, most_bytes=_MOST_BYTES
                )
            if status != 200:
                raise UnavailableError(f"{url}: status {status}")
            now = reading(parse(body.decode("utf-8", "replace")))
        except WeirError as error:
            return error
        except ValueError as error:
            return UnavailableError(f"{url}: {error}")
        if now is None:
            return UnavailableError(f"{url}: shows no metrics of an engine that is known")
        self._take(replica.id, now)
        return None

    def _take(self, worker_id: WorkerId, now: Reading) -> None:
        now_s = self._clock.now_s()
        at_s, before = self._seen.get(worker_id, (now_s, None))
        self._seen[worker_id] = (now_s, now)
        sample = sample_between(
            before,
            now,
            pool_id=self._pool,
            worker_id=worker_id,
            sequence=next(self._sequences),
            window_s=now_s - at_s,
        )
        self._telemetry.on_forward_pass(sample, now_s)


def _end_of_name(line: str) -> int:
    ends = [at for at in (line.find("{"), line.find(" ")) if at >= 0]
    return min(ends, default=len(line))
