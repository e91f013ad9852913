"""A GlobalPlanner and a LocalActuator for tests: real gRPC servers, behaviour in plain fields."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc

from weir import codec
from weir.api.v1 import planner_pb2, planner_pb2_grpc, pool_pb2, pool_pb2_grpc
from weir.domain.ids import PoolId
from weir.domain.planning import Grant, PoolReport

__all__ = ["READY", "STARTING", "TERMINATING", "FakeActuator", "FakeGlobalPlanner"]

STARTING = pool_pb2.REPLICA_STATE_STARTING
READY = pool_pb2.REPLICA_STATE_READY
TERMINATING = pool_pb2.REPLICA_STATE_TERMINATING

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass
class FakeGlobalPlanner(planner_pb2_grpc.GlobalPlannerServicer):
    """Grants `replicas` (None: nothing yet) to whoever reports."""

    replicas: int | None = None
    epoch: int = 0
    reports: list[PoolReport] = field(default_factory=list)

    def grant(self, replicas: int) -> None:
        self.replicas, self.epoch = replicas, self.epoch + 1

    async def Report(
        self, request: planner_pb2.ReportRequest, context: Context
    ) -> planner_pb2.ReportResponse:
        self.reports.append(codec.decode_report(request))
        if self.replicas is None:
            return planner_pb2.ReportResponse()
        grant = Grant(
            pool_id=PoolId(request.pool_id),
            term=1,
            epoch=self.epoch,
            replicas=self.replicas,
            valid_s=15.0,
            reason="test",
        )
        return planner_pb2.ReportResponse(grant=codec.encode_grant(grant))


@dataclass
class FakeActuator(pool_pb2_grpc.LocalActuatorServicer):
    """`hang`: calls of this name do nothing and never answer. Stopped replicas stay until `remove`.

    `on_stop` is called with the id of a replica before it is stopped.
    """

    states: dict[str, int] = field(default_factory=dict)
    hang: set[str] = field(default_factory=set)
    stops: list[tuple[str, float]] = field(default_factory=list)
    started: int = 0
    on_stop: Callable[[str], Awaitable[None]] | None = None

    def become(self, state: int) -> None:
        """All replicas that are starting get this state."""
        for replica_id, before in self.states.items():
            if before == STARTING:
                self.states[replica_id] = state

    def remove(self) -> None:
        """The replicas that were stopped are gone."""
        self.states = {k: state for k, state in self.states.items() if state != TERMINATING}

    async def ListReplicas(
        self, request: pool_pb2.ListReplicasRequest, context: Context
    ) -> pool_pb2.ListReplicasResponse:
        await self._answer("list", context)
        return pool_pb2.ListReplicasResponse(replicas=[self._replica(k) for k in self.states])

    async def StartReplica(
        self, request: pool_pb2.StartReplicaRequest, context: Context
    ) -> pool_pb2.Replica:
        await self._answer("start", context)
        replica_id = f"{request.pool_id}-{self.started}"
        self.started += 1
        self.states[replica_id] = STARTING
        return self._replica(replica_id)

    async def StopReplica(
        self, request: pool_pb2.StopReplicaRequest, context: Context
    ) -> pool_pb2.Replica:
        await self._answer("stop", context)
        if self.on_stop is not None:
            await self.on_stop(request.replica_id)
        self.stops.append((request.replica_id, request.drain_s))
        self.states[request.replica_id] = TERMINATING
        return self._replica(request.replica_id)

    async def _answer(self, name: str, context: Context) -> None:
        if name not in self.hang:
            return
        while name in self.hang:
            await asyncio.sleep(0.05)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "it has hung")

    def _replica(self, replica_id: str) -> pool_pb2.Replica:
        return pool_pb2.Replica(
            id=replica_id,
            pool_id=replica_id.rpartition("-")[0],
            host="127.0.0.1",
            port=9000 + int(replica_id.rpartition("-")[2]),
            state=self.states[replica_id],
            in_flight=0,
        )
