"""Replicas as processes of this machine, through the LocalActuator that `weir up` serves."""

from collections.abc import Sequence

import grpc

from poolplanner.adapters.rpc import failure
from poolplanner.core.replicas import Replica, ReplicaState
from weir.api.v1 import pool_pb2, pool_pb2_grpc
from weir.domain.errors import UnavailableError
from weir.domain.ids import PoolId, WorkerId
from weir.domain.planning import Grant

__all__ = ["LocalActuator"]

_STATES = {
    pool_pb2.REPLICA_STATE_STARTING: ReplicaState.STARTING,
    pool_pb2.REPLICA_STATE_READY: ReplicaState.READY,
    pool_pb2.REPLICA_STATE_TERMINATING: ReplicaState.TERMINATING,
}


class LocalActuator:
    """One pool's replicas. Each call ends within `timeout_s` wall seconds."""

    def __init__(
        self, channel: grpc.aio.Channel, target: str, pool_id: PoolId, *, timeout_s: float
    ) -> None:
        self._stub = pool_pb2_grpc.LocalActuatorStub(channel)  # type: ignore[no-untyped-call]
        self._target = target
        self._pool_id = pool_id
        self._timeout_s = timeout_s

    async def list(self) -> Sequence[Replica]:
        what = "list replicas"
        request = pool_pb2.ListReplicasRequest(pool_id=self._pool_id)
        try:
            answer = await self._stub.ListReplicas(request, timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            raise failure(what, self._target, error) from None
        try:
            return [_replica(message) for message in answer.replicas]
        except ValueError as error:
            raise UnavailableError(f"{what} at {self._target}: {error}") from None

    async def start(self, grant: Grant) -> WorkerId:
        request = pool_pb2.StartReplicaRequest(
            pool_id=self._pool_id, term=grant.term, epoch=grant.epoch
        )
        try:
            answer = await self._stub.StartReplica(request, timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            raise failure("start a replica", self._target, error) from None
        return WorkerId(answer.id)

    async def stop(self, worker_id: WorkerId, *, drain_s: float) -> None:
        request = pool_pb2.StopReplicaRequest(replica_id=worker_id, drain_s=drain_s)
        try:
            await self._stub.StopReplica(request, timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            raise failure(f"stop {worker_id}", self._target, error) from None


def _replica(message: pool_pb2.Replica) -> Replica:
    state = _STATES.get(message.state)
    if not message.id or state is None:
        raise ValueError(f"replica {message.id!r} has no id or no known state")
    return Replica(
        id=WorkerId(message.id),
        state=state,
        host=message.host,
        port=message.port,
        in_flight=message.in_flight if message.HasField("in_flight") else None,
    )
