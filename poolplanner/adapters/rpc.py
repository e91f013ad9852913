"""gRPC errors as ours, the same for every client."""

import grpc

from poolplanner.ports import RefusedError
from weir.domain.errors import UnavailableError, WeirError

__all__ = ["failure"]

_REFUSALS = frozenset(
    {
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
"""The server has looked at the request and done nothing. Anything else is an unknown outcome."""


def failure(what: str, target: str, error: grpc.aio.AioRpcError) -> WeirError:
    """`RefusedError` or `UnavailableError`, saying what failed, where and why."""
    code = error.code()
    text = f"{what} at {target}: {code.name.lower()}: {error.details() or 'no details'}"
    return RefusedError(text) if code in _REFUSALS else UnavailableError(text)
