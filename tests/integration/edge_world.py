"""A GlobalPlanner behind its real gRPC edge, without a store: a test says what is written."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from globalplanner.access.entrance import entrance_of
from globalplanner.config import GlobalPlannerConfig
from globalplanner.core.arbiter.snapshot import Rules
from globalplanner.edge import Edge, Offers, open_edge
from globalplanner.metrics import Metrics
from globalplanner.service import GlobalPlanner, Patience
from tests.unit.globalplanner.fleets import CHAT, fleet, pool
from weir.api.v1 import planner_pb2, planner_pb2_grpc
from weir.domain.ids import PoolId
from weir.runtime import rpc
from weir.runtime.clock import Clock
from weir.runtime.credentials import ClientCredentials
from weir.runtime.lifecycle import Stop

__all__ = ["Client", "EdgeWorld", "client", "digest", "report_of"]

PATIENCE = Patience(interval_s=2.0, stale_s=15.0, grant_valid_s=15.0, silent_s=15.0)


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class EdgeWorld:
    """Pools a, b and c of one GPU per replica; it leads in term 7 from the start.

    `writes` False: nothing becomes durable until `write` is called.
    """

    connected = True

    def __init__(self) -> None:
        self.fleet = fleet([pool("a"), pool("b"), pool("c")], gpus=8)
        self.metrics = Metrics(spec.id for spec in self.fleet.pools)
        self.writes = True
        self.planner = GlobalPlanner(
            self.fleet, Rules(), PATIENCE, Clock(), self.metrics,
            may_grow=lambda: True, unwritten=self._unwritten,
        )  # fmt: skip
        self.lead(7)

    def confirmed_age_s(self) -> float | None:
        return 0.25

    def lead(self, term: int) -> None:
        self.planner.lead(self.planner.prepare(term, None, owner="me"))
        self.write()

    def write(self) -> None:
        self.planner.written(self.planner.record(owner="me", serial=1), self.planner.epoch)

    def aim(self, **replicas: int) -> None:
        """As a decision does."""
        ledger = self.planner.ledger
        assert ledger is not None
        targets = {PoolId(name): count for name, count in replicas.items()}
        ledger.aim(targets, {PoolId(name): "more is offered" for name in replicas})
        self._unwritten()

    def refused(self, reason: str) -> float:
        """Reports that were refused for this reason."""
        name = "weir_globalplanner_refused_reports_total"
        return self.metrics.registry.get_sample_value(name, {"reason": reason}) or 0.0

    @asynccontextmanager
    async def serving(self, offers: Offers | None = None, **settings: Any) -> AsyncIterator[Edge]:
        fields = {"nats": "nats://none", "listen": "127.0.0.1:0"} | settings
        config = GlobalPlannerConfig(**fields)
        entrance = entrance_of(config)
        edge = await open_edge(
            config.listen, entrance, self.planner, self, self.metrics, offers or Offers()
        )
        stop = Stop()
        running = asyncio.create_task(edge.run(stop))
        try:
            yield edge
        finally:
            stop.set()
            await running
            await edge.close()

    def _unwritten(self) -> None:
        if self.writes and self.planner.term:
            self.write()


@asynccontextmanager
async def client(
    edge: Edge, *, token: str | None = None, folder: Path | None = None, **files: Path
) -> AsyncIterator["Client"]:
    """`token` is written into `folder` first; `files` are those of `ClientCredentials`."""
    if token is not None and folder is not None:
        files["token_file"] = folder / f"token-{digest(token)[:8]}"
        files["token_file"].write_text(f"{token}\n")
    credentials = ClientCredentials(**files)
    channel = rpc.channel(f"127.0.0.1:{edge.port}", credentials=credentials.channel_credentials())
    try:
        yield Client(channel, credentials)
    finally:
        await channel.close()


class Client:
    def __init__(self, channel: grpc.aio.Channel, credentials: ClientCredentials) -> None:
        self.stub = planner_pb2_grpc.GlobalPlannerStub(channel)  # type: ignore[no-untyped-call]
        self._credentials = credentials

    async def call(self, method: str, request: Any, *, timeout_s: float = 20.0) -> Any:
        return await getattr(self.stub, method)(
            request, timeout=timeout_s, metadata=self._credentials.metadata()
        )

    def stream(self, method: str, *requests: Any) -> Any:
        return getattr(self.stub, method)(*requests, metadata=self._credentials.metadata())

    async def refusal(self, method: str, request: Any) -> tuple[str, str]:
        """Status and details with which the call ends."""
        try:
            await self.call(method, request)
        except grpc.aio.AioRpcError as error:
            return error.code().name, error.details() or ""
        raise AssertionError(f"{method} was not refused")

    async def status(self) -> planner_pb2.StatusResponse:
        answer: planner_pb2.StatusResponse = await self.call("Status", planner_pb2.StatusRequest())
        return answer


def report_of(pool_id: str, sequence: int, **changes: Any) -> planner_pb2.ReportRequest:
    """A pool that runs one replica and has acted on nothing yet."""
    fields: dict[str, Any] = {
        "pool_id": pool_id,
        "sequence": sequence,
        "state": planner_pb2.PoolState(ready=1),
        "capacity_rps": {CHAT: 5.0},
        "capacity_rel_std": 0.1,
        "backlog_replica_s": 0.0,
        "telemetry_age_s": 0.5,
    }
    return planner_pb2.ReportRequest(**(fields | changes))
