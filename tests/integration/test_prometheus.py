"""A pool planner's traffic out of a real Prometheus that scrapes what a Dynamo router exports."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from poolplanner.adapters.prometheus import Prometheus, follow
from poolplanner.core.observation import Observation
from poolplanner.core.observe import Telemetry
from poolplanner.metrics import Metrics
from poolplanner.troubles import Troubles
from tests.integration.nats_process import eventually
from tests.integration.ports import free_port
from tests.integration.prometheus_process import (
    NAMESPACE,
    DynamoFrontend,
    DynamoRouter,
    PrometheusServer,
)
from weir import fleet
from weir.domain.ids import ClassName, PoolId
from weir.fleet.settings import PrometheusTelemetry
from weir.runtime.clock import Clock

pytestmark = pytest.mark.needs("prometheus")

FLEET = """\
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: pond}
spec:
  models: [{name: m}]
  classes:
    - {name: short, ttft_ms: 500, itl_ms: 50, isl: {max: 1000}}
    - {name: long, ttft_ms: 5000, itl_ms: 50}
  budget: {gpus: 4}
  pools: [{name: chat, role: prefill, model: m}, {name: write, role: decode, model: m}]
"""
POOL = PoolId("chat")
STALE_S = 1.5


class Watched:
    """A pool's telemetry, and the tasks that move and feed it."""

    def __init__(self, file: Path, url: str) -> None:
        self.fleet = fleet.load(file).fleet
        self.clock = Clock()
        self.pool = POOL
        self.telemetry = Telemetry(pool_id=POOL, stale_s=STALE_S, window_s=3.0)
        self.settings = PrometheusTelemetry(source="prometheus", url=url, scrape_s=0.5)

    def ask_frontend(self, pool: PoolId) -> None:
        """The same as before of a frontend's counters, and of another pool."""
        self.pool = pool
        self.telemetry = Telemetry(pool_id=pool, stale_s=STALE_S, window_s=3.0)
        self.settings = self.settings.model_copy(update={"metrics": "frontend"})

    def seen(self) -> Observation:
        return self.telemetry.observe(self.clock.now_s())

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        async with aiohttp.ClientSession() as session:
            spec = self.fleet.pool(self.pool)
            prometheus = Prometheus(session, self.settings, NAMESPACE, spec, self.fleet)
            troubles = Troubles(Metrics(self.pool))
            work = asyncio.create_task(follow(prometheus, self.telemetry, self.clock, troubles))
            yield
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


async def _offer(router: DynamoRouter | DynamoFrontend, rate_rps: float) -> None:
    """One request in twenty is slow and long."""
    sent, began_s = 0, Clock.wall_s()
    while True:
        while sent < (Clock.wall_s() - began_s) * rate_rps:
            sent += 1
            slow = sent % 20 == 0
            router.request(
                ttft_s=1.0 if slow else 0.15, isl_tokens=1500 if slow else 150, osl_tokens=250
            )
        await asyncio.sleep(0.02)


@asynccontextmanager
async def _offered(router: DynamoRouter | DynamoFrontend, rate_rps: float) -> AsyncIterator[None]:
    work = asyncio.create_task(_offer(router, rate_rps))
    try:
        yield
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


@pytest.fixture
def target_port() -> int:
    return free_port()


@pytest.fixture
def prometheus(tmp_path: Path, target_port: int) -> Iterator[PrometheusServer]:
    server = PrometheusServer(tmp_path, target_port)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def watched(tmp_path: Path, prometheus: PrometheusServer) -> Watched:
    file = tmp_path / "fleet.yaml"
    file.write_text(FLEET)
    return Watched(file, prometheus.url)


async def test_the_pool_sees_what_the_router_was_given(
    prometheus: PrometheusServer, watched: Watched, target_port: int
) -> None:
    router = DynamoRouter(target_port)
    async with _offered(router, 80.0), watched.followed():
        await eventually(lambda: (watched.seen().rate_rps or 0.0) > 70.0, 30.0)
        await asyncio.sleep(4.0)

        async def agree() -> None:
            seen = watched.seen()
            assert seen.rate_rps == pytest.approx(80.0, rel=0.1)
            assert seen.ttft_s is not None and 0.1 < seen.ttft_s <= 1.6 * 1.04
            assert (seen.in_flight, seen.queued_tokens) == (None, None)
            # What Dynamo's own planner asks comes to the same rate and the same mean prompt.
            name, of = "dynamo_component_router_", '{dynamo_namespace="prod_chat"}[3s]'
            demand = f"sum(increase({name}requests_started_total{of})) / 3"
            dynamo_rps = await asyncio.to_thread(prometheus.value, demand)
            assert seen.rate_rps == pytest.approx(dynamo_rps, rel=0.1)
            isl = f"{name}input_sequence_tokens"
            mean = f"sum(increase({isl}_sum{of})) / sum(increase({isl}_count{of}))"
            totals = watched.telemetry.totals
            tokens = sum(total.isl_tokens for total in totals.values())
            requests = sum(total.arrivals for total in totals.values())
            assert tokens / requests == pytest.approx(
                await asyncio.to_thread(prometheus.value, mean), rel=0.1
            )
            assert totals[ClassName("long")].arrivals == pytest.approx(requests / 20.0, rel=0.2)

        await _until_true(agree)
    router.close()


async def test_a_pool_sees_what_the_frontend_counts_of_its_model(
    prometheus: PrometheusServer, watched: Watched, target_port: int
) -> None:
    # The document calls the model `m`; a frontend may write it otherwise.
    frontend = DynamoFrontend(target_port, "M")
    watched.ask_frontend(PoolId("write"))
    async with _offered(frontend, 80.0), watched.followed():
        await eventually(lambda: (watched.seen().rate_rps or 0.0) > 70.0, 30.0)
        await asyncio.sleep(4.0)

        async def agree() -> None:
            seen = watched.seen()
            assert seen.rate_rps == pytest.approx(80.0, rel=0.1)
            assert seen.ttft_s is not None and 0.1 < seen.ttft_s <= 1.6 * 1.04
            assert (seen.in_flight, seen.queued_tokens) == (7, None)
            # What Dynamo's own planner asks comes to the same.
            of = f'{{dynamo_namespace="{NAMESPACE}",model="M"}}[3s]'
            demand = f"sum(increase(dynamo_frontend_requests_started_total{of})) / 3"
            assert seen.rate_rps == pytest.approx(
                await asyncio.to_thread(prometheus.value, demand), rel=0.1
            )
            # Its client library writes `_` for `:`.
            drafted = '{{__name__=~"vllm[:_]spec_decode_num_{}_total",model_name="M"}}[3s]'
            accepted = f"rate({drafted.format('accepted_tokens')})"
            length = f"1 + sum({accepted}) / sum(rate({drafted.format('drafts')}))"
            assert seen.accept_length == pytest.approx(2.5)
            assert await asyncio.to_thread(prometheus.value, length) == pytest.approx(2.5, rel=0.05)

        await _until_true(agree)
    frontend.close()


async def test_a_router_that_is_gone_is_unknown_and_one_that_begins_anew_is_known_again(
    prometheus: PrometheusServer, watched: Watched, target_port: int
) -> None:
    router = DynamoRouter(target_port)
    async with watched.followed():
        async with _offered(router, 40.0):
            await eventually(lambda: (watched.seen().rate_rps or 0.0) > 35.0, 30.0)
            router.close()
            rates = await _rates_until_unknown(watched)
        assert all(rate_rps > 30.0 for rate_rps in rates)
        anew = DynamoRouter(target_port)
        async with _offered(anew, 40.0):
            await eventually(lambda: 35.0 < (watched.seen().rate_rps or 0.0) < 50.0, 30.0)
            counted = sum(total.arrivals for total in watched.telemetry.totals.values())
            assert counted <= router.offered + anew.offered
    anew.close()


async def test_a_prometheus_that_is_away_is_unknown_until_it_is_back(
    prometheus: PrometheusServer, watched: Watched, target_port: int
) -> None:
    router = DynamoRouter(target_port)
    async with _offered(router, 40.0), watched.followed():
        await eventually(lambda: (watched.seen().rate_rps or 0.0) > 35.0, 30.0)
        prometheus.kill()
        assert all(rate_rps > 30.0 for rate_rps in await _rates_until_unknown(watched))
        await asyncio.to_thread(prometheus.start)
        await eventually(lambda: 35.0 < (watched.seen().rate_rps or 0.0) < 50.0, 30.0)
    router.close()


async def _until_true(claim: Callable[[], Awaitable[None]]) -> None:
    """Wait until all of it is true at once: both rates are of seconds, not of the same ones."""
    until_s = Clock.wall_s() + 40.0
    while True:
        try:
            return await claim()
        except AssertionError:
            if Clock.wall_s() > until_s:
                raise
            await asyncio.sleep(0.2)


async def _rates_until_unknown(watched: Watched) -> list[float]:
    rates: list[float] = []
    async with asyncio.timeout(30.0):
        while (rate_rps := watched.seen().rate_rps) is not None:
            rates.append(rate_rps)
            await asyncio.sleep(0.1)
    return rates
