"""What callers of the HTTP client see: where answers go, how long to wait, what can fail.

UpstreamError
├── ConnectError   no connection could be made
├── BrokenError    the connection ended early, or what came over it is not HTTP
└── DeadlineError  the server took longer than it was given
"""

from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Protocol

from weir.compiled import mypyc_attr
from weir.domain.errors import UnavailableError
from weir.http1.messages import Header

__all__ = [
    "BrokenError",
    "ConnectError",
    "DeadlineError",
    "Framing",
    "Patience",
    "Sink",
    "Upstream",
    "UpstreamError",
]


class UpstreamError(UnavailableError):
    """A server did not answer as it should."""


class ConnectError(UpstreamError):
    """No connection could be made."""


class BrokenError(UpstreamError):
    """The connection ended early, or what came over it is not HTTP."""


class DeadlineError(UpstreamError):
    """The server took longer than it was given."""


class Framing(Enum):
    """How the end of a response's body is told."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until close"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Wall seconds: for the first byte of the body, between two reads of it, for all of it."""

    first_byte_s: float = 120.0
    idle_s: float = 60.0
    total_s: float = inf

    @property
    def shortest_s(self) -> float:
        return min(self.first_byte_s, self.idle_s, self.total_s)


class Upstream(Protocol):
    """The connection that a response comes over, as its sink may use it."""

    @property
    def at_boundary(self) -> bool:
        """Between two chunks of a chunked body; stays so after the connection has broken."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def abort(self, error: UpstreamError | None) -> None: ...


@mypyc_attr(allow_interpreted_subclasses=True)
class Sink:
    """Gets one response. Override what is needed; raise `UpstreamError` to refuse it.

    `framing`, `connection` and `length`, where that is how the body is framed, are set before
    `on_response`; `connection` until the end.
    """

    framing: Framing = Framing.NONE
    length: int = 0
    aborted: bool = False
    connection: Upstream | None = None

    def on_response(self, status: int, headers: list[Header]) -> None: ...

    def on_data(self, data: bytes) -> None: ...

    def on_end(self) -> None: ...

    def abort(self) -> None:
        """Give up: the connection is broken and `Pool.stream` raises `BrokenError`."""
        self.aborted = True
        if self.connection is not None:
            self.connection.abort(BrokenError("given up by the caller"))

    def pause(self) -> None:
        """Let the server wait (until `resume`), its idle time not counted."""
        if self.connection is not None:
            self.connection.pause_reading()

    def resume(self) -> None:
        if self.connection is not None:
            self.connection.resume_reading()
