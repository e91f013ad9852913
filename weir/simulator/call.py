"""One client's request on its way through the simulated fleet."""

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from weir.workload.prefixes import BLOCK_TOKENS

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
    where it is being served now. `state` is the gateway's own. `chain` has the prompt's blocks, if
    the trace says what prompts share, `cached_tokens` how much of it its last leg found computed.
    """

    __slots__ = (
        "arrived_s",
        "attempts",
        "cached_tokens",
        "chain",
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
        chain: tuple[int, ...] = (),
    ) -> None:
        self.id = id
        self.arrived_s = arrived_s
        self.isl_tokens = isl_tokens
        self.osl_tokens = osl_tokens
        self.class_index = class_index
        self.tenant = tenant
        self.chain = chain
        self.cached_tokens = 0
        self.attempts = 1
        self.first_s: float | None = None
        self.prefill: Replica | None = None
        self.decode: Replica | None = None
        self.state: Any = None
        self.ended = False

    def block_hashes(self, block_tokens: int) -> tuple[int, ...]:
        """As an engine with blocks of this size has them; none where theirs do not fit into these.

        A trace's block is as many of the engine's, which are told from each other by their place.
        """
        chain = self.chain
        if not chain or block_tokens == BLOCK_TOKENS:
            return chain
        parts, rest = divmod(BLOCK_TOKENS, block_tokens)
        if rest:
            return ()
        return tuple(block * parts + part for block in chain for part in range(parts))
