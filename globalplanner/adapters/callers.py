"""Who calls: from what gRPC knows of the other side to an identity, or to a refusal."""

import logging
from typing import Any, NoReturn

import grpc

from globalplanner.access.identity import Identity
from globalplanner.adapters.offers import Door
from weir.domain.errors import UnavailableError, UnknownError, WeirError

__all__ = ["Callers", "Context", "refuse", "refuse_for", "unimplemented"]

_log = logging.getLogger("weir.globalplanner")
Context = grpc.aio.ServicerContext[Any, Any]
_LONGEST_DETAILS = 1000
"""Details travel as a header, and headers are limited."""


class Callers:
    """`door` knows the identities."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def known(self, context: Context) -> Identity:
        """Whoever calls; ends the call with UNAUTHENTICATED if that is nobody."""
        tokens = _tokens(context)
        if len(tokens) > 1:
            await refuse(context, grpc.StatusCode.UNAUTHENTICATED, "more than one token")
        identity = self._door.of(tokens[0] if tokens else None, _subjects(context))
        if identity is None:
            what = "this token" if tokens else "this certificate" if _subjects(context) else ""
            text = f"{what} is not known here" if what else "show a token or a certificate"
            await refuse(context, grpc.StatusCode.UNAUTHENTICATED, text)
        return identity

    async def operator(self, context: Context) -> Identity:
        """Ends the call with PERMISSION_DENIED unless an operator calls."""
        identity = await self.known(context)
        if not identity.operator:
            text = f"{identity.name} is not an operator"
            await refuse(context, grpc.StatusCode.PERMISSION_DENIED, text)
        return identity


async def refuse(context: Context, code: grpc.StatusCode, text: str) -> NoReturn:
    if len(text) > _LONGEST_DETAILS:
        text = f"{text[: _LONGEST_DETAILS - 3]}..."
    await context.abort(code, text)
    raise AssertionError("abort raises")


async def refuse_for(context: Context, error: Exception) -> NoReturn:
    """End the call with the status that tells of `error`."""
    if isinstance(error, ValueError):
        await refuse(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
    if isinstance(error, UnknownError):
        await refuse(context, grpc.StatusCode.NOT_FOUND, str(error))
    if isinstance(error, UnavailableError):
        await refuse(context, grpc.StatusCode.UNAVAILABLE, str(error))
    if isinstance(error, WeirError):
        await refuse(context, grpc.StatusCode.FAILED_PRECONDITION, str(error))
    _log.error("a call has failed", exc_info=error)
    await refuse(context, grpc.StatusCode.INTERNAL, "the call has failed; the log says why")


async def unimplemented(context: Context) -> NoReturn:
    text = "this GlobalPlanner does not offer this call"
    await refuse(context, grpc.StatusCode.UNIMPLEMENTED, text)


def _tokens(context: Context) -> list[str]:
    """What stands behind `Bearer` in the call's metadata."""
    found = []
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            text = value.decode("latin-1") if isinstance(value, bytes) else value
            scheme, _, token = text.partition(" ")
            found.append(token.strip() if scheme.lower() == "bearer" else "")
    return found


def _subjects(context: Context) -> tuple[str, ...]:
    """Names in the client's certificate: its SANs, or its common name if it has none.

    gRPC has some only of a certificate that our CA has signed.
    """
    proven = context.auth_context()
    names = proven.get("x509_subject_alternative_name") or proven.get("x509_common_name") or ()
    return tuple(name.decode("utf-8", errors="replace") for name in names)
