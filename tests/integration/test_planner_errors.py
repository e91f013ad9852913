"""Whatever a GlobalPlanner answers, or does not: its client says so, and asks again."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from poolplanner.adapters.global_planner import GlobalPlannerClient
from poolplanner.ports import RefusedError
from weir import codec
from weir.api.v1 import planner_pb2
from weir.domain.errors import UnavailableError, WeirError
from weir.domain.ids import PoolId
from weir.domain.planning import Grant, PoolReport, PoolState
from weir.runtime.credentials import ClientCredentials

Context = grpc.aio.ServicerContext[Any, Any]
Behaviour = Callable[[Context], Any]
REPORT = PoolReport(
    pool_id=PoolId("p"),
    sequence=7,
    acted_term=1,
    acted_epoch=1,
    acted_replicas=2,
    state=PoolState(ready=2, starting=0, terminating=0),
    capacity_rps={},
    capacity_rel_std=0.1,
)
GRANT = Grant(pool_id=PoolId("p"), term=1, epoch=1, replicas=2, valid_s=15.0, reason="test")
REFUSED = {
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED,
}


def good() -> planner_pb2.ReportResponse:
    return planner_pb2.ReportResponse(grant=codec.encode_grant(GRANT), newest_sequence=7)


def granted(**changes: Any) -> bytes:
    """The bytes of an answer whose grant is out of order."""
    answer = good()
    for name, value in changes.items():
        setattr(answer.grant, name, value)
    return bytes(answer.SerializeToString())


class Server(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers what `behaviour` does: bytes, or what it raises or aborts with."""

    def __init__(self) -> None:
        self.behaviour: Callable[[Context], Any] = _well
        self.sequences: list[int] = []
        self.address = ""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        if details.method.endswith("/Report"):
            return grpc.unary_unary_rpc_method_handler(self._single)
        if details.method.endswith("/ReportStream"):
            return grpc.stream_stream_rpc_method_handler(self._stream)
        return None

    async def _single(self, request: bytes, context: Context) -> bytes:
        self.sequences.append(planner_pb2.ReportRequest.FromString(request).sequence)
        return bytes(await self.behaviour(context))

    async def _stream(self, requests: AsyncIterator[bytes], context: Context) -> Any:
        async for request in requests:
            yield await self._single(request, context)


@asynccontextmanager
async def serving(
    *handlers: grpc.GenericRpcHandler, address: str = "127.0.0.1:0"
) -> AsyncIterator[str]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(handlers)
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@asynccontextmanager
async def asking(*targets: str) -> AsyncIterator[GlobalPlannerClient]:
    client = GlobalPlannerClient(targets, ClientCredentials(), timeout_s=3.0)
    try:
        yield client
    finally:
        await client.close()


async def _answered(client: GlobalPlannerClient) -> Grant | None:
    """It connects again within a second or two."""
    async with asyncio.timeout(30.0):
        while True:
            try:
                return (await client.report(REPORT)).grant
            except UnavailableError:
                await asyncio.sleep(0.1)


async def _well(context: Context) -> bytes:
    return bytes(good().SerializeToString())


def says(answer: bytes) -> Behaviour:
    async def behave(context: Context) -> bytes:
        return answer

    return behave


def aborts(code: grpc.StatusCode) -> Behaviour:
    async def behave(context: Context) -> None:
        await context.abort(code, "not now")

    return behave


async def _raises(context: Context) -> None:
    raise RuntimeError("a defect")


async def _hangs(context: Context) -> None:
    await asyncio.sleep(30.0)


CODES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
CASES: list[tuple[str, Behaviour, type[WeirError]]] = [
    *(
        (code.name, aborts(code), RefusedError if code in REFUSED else UnavailableError)
        for code in CODES
    ),
    ("a defect", _raises, UnavailableError),
    ("silence", _hangs, UnavailableError),
    ("not a message", says(b"\xff\xff\xff"), UnavailableError),
    ("a grant of fewer than none", says(granted(replicas=-1)), UnavailableError),
    ("a grant for no time that there is", says(granted(valid_s=math.nan)), UnavailableError),
    ("a grant for nobody", says(granted(pool_id="")), UnavailableError),
]


@pytest.mark.parametrize(
    ("behaviour", "error"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
async def test_every_error_is_told_and_the_same_report_may_be_sent_again(
    behaviour: Behaviour, error: type[WeirError]
) -> None:
    server = Server()
    async with serving(server) as address, asking(address) as client:
        server.behaviour = behaviour
        with pytest.raises(error, match=address):
            await client.report(REPORT)
        server.behaviour = _well
        assert (await client.report(REPORT)).grant == GRANT
        assert set(server.sequences) == {REPORT.sequence}


async def test_a_server_that_goes_and_comes_back_is_asked_again() -> None:
    server = Server()
    async with serving(server) as address:
        pass
    async with asking(address) as client:
        for _ in range(2):
            async with serving(server, address=address):
                assert await _answered(client) == GRANT
            with pytest.raises(UnavailableError):
                await client.report(REPORT)


async def test_one_that_is_no_global_planner_does_not_keep_others_from_being_asked() -> None:
    server = Server()
    async with serving() as nobody, serving(server) as address, asking(nobody, address) as client:
        assert (await client.report(REPORT)).grant == GRANT
        assert (await client.report(REPORT)).grant == GRANT


async def test_who_cancels_the_report_ends_it() -> None:
    server = Server()
    server.behaviour = _hangs
    async with serving(server) as address, asking(address) as client:
        task = asyncio.ensure_future(client.report(REPORT))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
