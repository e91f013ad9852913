"""A pool's routable replicas."""

from weir.api.v1 import pool_pb2
from weir.codec.fields import finite, text
from weir.domain.ids import PoolId, WorkerId
from weir.domain.planning import PoolMembers, WorkerEndpoint

__all__ = ["decode_members", "encode_members"]


def encode_members(members: PoolMembers) -> pool_pb2.PoolMembers:
    return pool_pb2.PoolMembers(
        pool_id=members.pool_id,
        version=members.version,
        workers=[
            pool_pb2.Worker(id=w.id, host=w.host, port=w.port, draining=w.draining)
            for w in members.workers
        ],
    )


def decode_members(message: pool_pb2.PoolMembers) -> PoolMembers:
    return PoolMembers(
        pool_id=PoolId(text("pool_id", message.pool_id)),
        version=message.version,
        workers=tuple(
            WorkerEndpoint(
                id=WorkerId(text("worker.id", w.id)),
                host=text("worker.host", w.host),
                port=int(finite("worker.port", w.port, low=1)),
                draining=w.draining,
            )
            for w in message.workers
        ),
    )
