"""What all commands share that talk to a running GlobalPlanner: options, connection, errors.

    def configure(parser):
        planner_client.add_options(parser)

    def run(args):
        answer = planner_client.ask(args, "SetBudget", planner_pb2.SetBudgetRequest(gpus=8))

Everything that goes wrong is a `WeirError`, which the `weir` command prints on stderr: exit code 1
if no GlobalPlanner answers or leads (again later may help), 2 if it refuses what was asked.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from weir.cli import options
from weir.domain.errors import UnavailableError, WeirError

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message

    from weir.runtime.credentials import ClientCredentials

__all__ = ["PlannerConnection", "RefusedError", "add_options", "ask", "connected"]

_DEFAULT = "127.0.0.1:7000"
_TIMEOUT_S = 5.0
_NO_ANSWER = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN", "INTERNAL", "ABORTED")


class RefusedError(WeirError):
    """The GlobalPlanner has understood and does not do it."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """--planner and the credentials, as `ask` and `connected` read them."""
    group = parser.add_argument_group("the GlobalPlanner")
    group.add_argument(
        "--planner",
        metavar="HOST:PORT[,...]",
        type=options.addresses,
        default=(_DEFAULT,),
        help=f"where it listens; of several the first that leads is asked (default {_DEFAULT})",
    )
    options.add_credential_options(group)
    group.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=options.positive,
        default=_TIMEOUT_S,
        help="give up on an answer after so long (default %(default)g)",
    )


def ask(args: argparse.Namespace, method: str, request: "Message") -> Any:
    """One call of `method` of the GlobalPlanner service; its answer.

    Raises `UnavailableError`, `RefusedError`, `CredentialsError`.
    """

    async def once() -> Any:
        async with connected(args) as planner:
            return await planner.call(method, request)

    return asyncio.run(once())


@asynccontextmanager
async def connected(args: argparse.Namespace) -> "AsyncIterator[PlannerConnection]":
    """Several calls over one connection."""
    from weir.runtime import rpc
    from weir.runtime.credentials import ClientCredentials

    credentials = ClientCredentials(
        token_file=args.token_file, ca=args.ca, cert=args.cert, key=args.key
    )
    async with AsyncExitStack() as stack:
        links = []
        for target in args.planner:
            channel = rpc.channel(target, credentials=credentials.channel_credentials())
            stack.push_async_callback(channel.close)
            links.append((target, channel))
        yield PlannerConnection(links, credentials, timeout_s=args.timeout)


class PlannerConnection:
    """The GlobalPlanners of a fleet, of which one leads."""

    def __init__(
        self,
        links: "Sequence[tuple[str, grpc.aio.Channel]]",
        credentials: "ClientCredentials",
        *,
        timeout_s: float,
    ) -> None:
        self._links = links
        self._credentials = credentials
        self._timeout_s = timeout_s

    async def call(
        self, method: str, request: "Message", *, prefer: Callable[[Any], bool] | None = None
    ) -> Any:
        """The first answer that `prefer` holds of, else the first one, each within the time-out."""
        answers, failures = [], []
        for target, channel in self._links:
            try:
                answer = await self._call(target, channel, method, request)
            except UnavailableError as error:
                failures.append(str(error))
                continue
            if prefer is None or prefer(answer):
                return answer
            answers.append(answer)
        if answers:
            return answers[0]
        raise UnavailableError("\n".join(failures))

    async def _call(
        self, target: str, channel: "grpc.aio.Channel", method: str, request: "Message"
    ) -> Any:
        import grpc

        from weir.api.v1 import planner_pb2_grpc

        stub = planner_pb2_grpc.GlobalPlannerStub(channel)  # type: ignore[no-untyped-call]
        try:
            return await getattr(stub, method)(
                request, timeout=self._timeout_s, metadata=self._credentials.metadata()
            )
        except grpc.aio.AioRpcError as error:
            raise _failure(target, error) from None


def _failure(target: str, error: "grpc.aio.AioRpcError") -> WeirError:
    code, details = error.code().name, error.details() or "no details"
    if code == "DEADLINE_EXCEEDED":
        details = "not in time; what was to be changed may have been"
    if code in _NO_ANSWER:
        return UnavailableError(f"no answer from the GlobalPlanner at {target}: {details}")
    return RefusedError(f"the GlobalPlanner at {target} refuses: {code.lower()}: {details}")
