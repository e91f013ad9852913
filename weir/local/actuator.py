"""LocalActuator over gRPC: what pool planners call to change this machine's replicas."""

import logging
import math
from typing import Any, NoReturn

import grpc

from weir.api.v1 import pool_pb2, pool_pb2_grpc
from weir.domain.fleet import PoolSpec
from weir.domain.ids import PoolId
from weir.local.engines import Engines
from weir.local.ports import HOST
from weir.local.replicas import Refusal, Replica, ReplicaState

__all__ = ["ActuatorServicer"]

_log = logging.getLogger("weir.local.actuator")
_STATES = {
    ReplicaState.STARTING: pool_pb2.REPLICA_STATE_STARTING,
    ReplicaState.READY: pool_pb2.REPLICA_STATE_READY,
    ReplicaState.TERMINATING: pool_pb2.REPLICA_STATE_TERMINATING,
}

Context = grpc.aio.ServicerContext[Any, Any]


class ActuatorServicer(pool_pb2_grpc.LocalActuatorServicer):
    """NOT_FOUND: no such pool or replica. RESOURCE_EXHAUSTED: no free GPUs on this machine."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    async def ListReplicas(
        self, request: pool_pb2.ListReplicasRequest, context: Context
    ) -> pool_pb2.ListReplicasResponse:
        pool = await self._pool(request.pool_id, context)
        replicas = self._engines.table.of(pool.id)
        return pool_pb2.ListReplicasResponse(replicas=[_message(r) for r in replicas])

    async def StartReplica(
        self, request: pool_pb2.StartReplicaRequest, context: Context
    ) -> pool_pb2.Replica:
        pool = await self._pool(request.pool_id, context)
        entry = self._engines.start(pool)
        if isinstance(entry, Refusal):
            await _abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, entry.reason)
        _log.info(
            "start %s port=%d term=%d epoch=%d", entry.id, entry.port, request.term, request.epoch
        )
        return _message(entry)

    async def StopReplica(
        self, request: pool_pb2.StopReplicaRequest, context: Context
    ) -> pool_pb2.Replica:
        if not math.isfinite(request.drain_s) or request.drain_s < 0.0:
            text = f"drain_s must be a finite number >= 0, not {request.drain_s}"
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, text)
        replica = self._engines.table.get(request.replica_id)
        if replica is None:
            text = f"no replica {request.replica_id!r} on this machine"
            await _abort(context, grpc.StatusCode.NOT_FOUND, text)
        _log.info("stop %s drain_s=%g", replica.id, request.drain_s)
        self._engines.stop(replica, request.drain_s)
        return _message(replica)

    async def _pool(self, pool_id: str, context: Context) -> PoolSpec:
        try:
            return self._engines.fleet.pool(PoolId(pool_id))
        except KeyError:
            text = f"no pool {pool_id!r} in fleet {self._engines.fleet.name!r}"
            await _abort(context, grpc.StatusCode.NOT_FOUND, text)


async def _abort(context: Context, code: grpc.StatusCode, text: str) -> NoReturn:
    await context.abort(code, text)
    raise AssertionError("abort returned")


def _message(replica: Replica) -> pool_pb2.Replica:
    return pool_pb2.Replica(
        id=replica.id,
        pool_id=replica.pool.id,
        host=HOST,
        port=replica.port,
        state=_STATES[replica.state],
        in_flight=replica.in_flight,
    )
