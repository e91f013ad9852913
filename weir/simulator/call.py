"""One client's request on its way through the simulated fleet."""

from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weir.simulator.replica import Replica

__all__ = ["Call", "End"]


class End(IntEnum):
    """How a call ends; each ends in exactly one of these."""

    COMPLETED = 0
    FAILED = 1
    SHED = 2
    CANCELLED = 3


class Call:
    """Lengths and class are the true ones. Times are seconds of the trace.

    `arrived_s` is the client's first attempt: retries count against its TTFT. The legs are
    where it is being served now. `state` is the gateway's own.
    """

    __slots__ = (
        "arrived_s",
        "attempts",
        "class_index",
        "decode",
        "ended",
        "first_s",
        "id",
        "isl_tokens",
        "osl_tokens",
        "prefill",
        "state",
        "tenant",
    )

    def __init__(
        self,
        id: int,
        arrived_s: float,
        isl_tokens: int,
        osl_tokens: int,
        class_index: int,
        tenant: str,
    ) -> None:
        self.id = id
        self.arrived_s = arrived_s
        self.isl_tokens = isl_tokens
        self.osl_tokens = osl_tokens
        self.class_index = class_index
        self.tenant = tenant
        self.attempts = 1
        self.first_s: float | None = None
        self.prefill: Replica | None = None
        self.decode: Replica | None = None
        self.state: Any = None
        self.ended = False
