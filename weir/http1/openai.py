"""The OpenAI surface as bytes: the error envelope and server-sent events."""

from http import HTTPStatus

import orjson

__all__ = [
    "JSON_TYPE",
    "SSE_DONE",
    "SSE_TYPE",
    "error_headers",
    "error_type",
    "openai_error",
    "sse_error",
    "sse_event",
]

JSON_TYPE = b"application/json"
SSE_TYPE = b"text/event-stream; charset=utf-8"
SSE_DONE = b"data: [DONE]\n\n"

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    408: "request_timeout",
    429: "rate_limit_exceeded",
    502: "upstream_error",
    503: "service_unavailable",
    504: "upstream_timeout",
}


def error_type(status: int) -> str:
    """The `type` that goes with an HTTP status when nothing more is known."""
    named = _TYPES.get(status)
    if named is not None:
        return named
    return "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"


def openai_error(
    status: int,
    message: str,
    type: str | None = None,
    code: str | None = None,
    param: str | None = None,
) -> bytes:
    """The JSON envelope of one error; `type` follows from the status unless given."""
    error = {"message": message, "type": type or error_type(status), "param": param, "code": code}
    return orjson.dumps({"error": error})


def error_headers(retry_after_s: float | None = None) -> list[tuple[bytes, bytes]]:
    """Headers of an error response, `retry-after` in whole seconds if given."""
    headers = [(b"content-type", JSON_TYPE)]
    if retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(retry_after_s))))
    return headers


def sse_event(payload: bytes) -> bytes:
    """One event. `payload` is a single line, as orjson writes it."""
    return b"data: " + payload + b"\n\n"


def sse_error(status: int, message: str, code: str | None = None) -> bytes:
    """An error as an event, for a stream that has begun and cannot change its status."""
    return sse_event(openai_error(status, message, code=code))
