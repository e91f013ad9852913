"""Asks a Prometheus for what it has scraped, as often as there may be something new."""

import asyncio
from pathlib import Path

import aiohttp
import orjson

from poolplanner.adapters.http import fetch, tls_of
from poolplanner.core.promql import (
    DynamoMetrics,
    Series,
    query,
    query_of_engines,
    series_of,
)
from poolplanner.core.scrapes import Scrapes
from poolplanner.core.speculation import ACCEPT_NAMES, accept_length
from poolplanner.ports import TrafficSink
from poolplanner.troubles import Troubles
from weir.domain.classify import classify
from weir.domain.errors import CredentialsError, UnavailableError, WeirError
from weir.domain.fleet import Fleet, PoolSpec, Role
from weir.fleet.settings import PrometheusTelemetry
from weir.runtime.clock import Clock

__all__ = ["Prometheus", "follow"]

_TIMEOUT_S = 5.0
_MOST_BYTES = 64 * 2**20
_RANGE_SCRAPES = 4.0
"""So far back every question looks: an answer or two may be lost, and no scrape is."""
_LOOKS_PER_SCRAPE = 3.0
_SHORTEST_PAUSE_S = 0.5


class Prometheus:
    """One pool's series on one server. The token is read for each question."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        settings: PrometheusTelemetry,
        namespace: str,
        spec: PoolSpec,
        fleet: Fleet,
    ) -> None:
        self.settings = settings
        self.spec = spec
        self.fleet = fleet
        self._session = session
        aliases = (model.aliases for model in fleet.models if model.name == spec.model)
        models = [spec.model, *(alias for each in aliases for alias in each)]
        range_s = _RANGE_SCRAPES * settings.scrape_s
        self._question = query(
            DynamoMetrics(settings.metrics), namespace=namespace, models=models, range_s=range_s
        )
        self._of_engines = query_of_engines(ACCEPT_NAMES, models=models, range_s=range_s)
        self._url = f"{settings.url.rstrip('/')}/api/v1/query"
        self._tls = tls_of(settings.ca)

    async def read(self) -> list[Series]:
        """What is counted of requests. Raises `UnavailableError`, `CredentialsError`."""
        return await self._asked(self._question)

    async def accept_length(self) -> float | None:
        """Of the engines of the pool's model, if it decodes; raises as `read` does."""
        if self.spec.role is Role.PREFILL:
            return None
        return accept_length(await self._asked(self._of_engines))

    async def _asked(self, question: str) -> list[Series]:
        status, body = await fetch(
            self._session,
            self._url,
            timeout_s=_TIMEOUT_S,
            most_bytes=_MOST_BYTES,
            form={"query": question, "timeout": f"{_TIMEOUT_S:g}s"},
            headers=self._headers(),
            tls=self._tls,
        )
        try:
            return series_of(orjson.loads(body))
        except ValueError as error:
            raise UnavailableError(f"{self._url}: status {status}: {error}") from None

    def _headers(self) -> dict[str, str]:
        path = self.settings.token_file
        if path is None:
            return {}
        try:
            token = Path(path).read_text().strip()
        except (OSError, ValueError) as error:
            raise CredentialsError(f"cannot read the token in {path}: {error}") from None
        return {"Authorization": f"Bearer {token}"}


async def follow(
    prometheus: Prometheus, sink: TrafficSink, clock: Clock, troubles: Troubles
) -> None:
    """Feed `sink` for ever. What goes wrong is counted and logged; then nothing is fed."""
    classes, settings = prometheus.fleet.classes, prometheus.settings
    scrapes = Scrapes(
        pool_id=prometheus.spec.id,
        metrics=DynamoMetrics(settings.metrics),
        class_of=lambda isl, osl: classify(classes, isl, osl).name,
        speed=clock.speed,
    )
    pause_s = max(_SHORTEST_PAUSE_S, settings.scrape_s / _LOOKS_PER_SCRAPE)
    while True:
        try:
            answer = await prometheus.read()
            samples = scrapes.samples(answer, await prometheus.accept_length())
        except WeirError as error:
            troubles.failed("telemetry", error)
        else:
            troubles.recovered("telemetry")
            for sample in samples:
                sink.on_traffic(sample, clock.now_s())
        await asyncio.sleep(pause_s)
