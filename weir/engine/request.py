"""What the engine model works on: a request as submitted and a sequence as it is served."""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum, auto

__all__ = ["Refusal", "Request", "Sequence", "SequenceState"]


class Request:
    """Prompt and output of known length; `output_tokens` is the stop, not an upper limit.

    `id` is whatever the caller knows it by, once in an engine at a time. `block_hashes` names the
    full blocks of the prompt, first to last, each hash covering everything before it too, so that
    equal hashes mean equal prefixes. It may be shorter than the prompt has blocks; blocks without
    a hash are never shared.

    `prefilled`: the prompt's KV was computed elsewhere and has arrived, so there is no prefill
    work and the first token comes from the first iteration. `hold`: the KV stays after the
    last token, for another engine to fetch, until `EngineModel.release`.

    Nobody changes one; it is a plain class because one is made for each leg of each request.
    """

    __slots__ = ("block_hashes", "hold", "id", "output_tokens", "prefilled", "prompt_tokens")

    def __init__(
        self,
        id: Hashable,
        prompt_tokens: int,
        output_tokens: int,
        block_hashes: tuple[int, ...] = (),
        prefilled: bool = False,
        hold: bool = False,
    ) -> None:
        if prompt_tokens < 1 or output_tokens < 1:
            raise ValueError(f"request {id}: prompt and output need at least one token")
        self.id = id
        self.prompt_tokens = prompt_tokens
        self.output_tokens = output_tokens
        self.block_hashes = block_hashes
        self.prefilled = prefilled
        self.hold = hold

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"Request({fields})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The request can never run here: it needs more tokens than the engine could ever take."""

    needed_tokens: int
    limit_tokens: int


class SequenceState(Enum):
    WAITING = auto()
    PREFILLING = auto()
    DECODING = auto()
    HELD = auto()
    DONE = auto()


_WAITING = SequenceState.WAITING


class Sequence:
    """A request being served. `EngineModel` alone changes it; others read the public names.

    Public: `id`, `request`, `state`, `submitted_s`, `first_token_s` (None before it),
    `cached_tokens` (prompt tokens found in the prefix cache on first admission) and
    `preemptions`. The rest is bookkeeping. `tokens` (prompt and output so far), `computed` and
    `blocks` hold while it waits, prefills or is held; while it decodes they follow from `anchor`
    and the engine's step count, so that an iteration costs nothing per sequence.
    """

    __slots__ = (
        "anchor",
        "blocks",
        "cached_tokens",
        "computed",
        "first_token_s",
        "hashes",
        "id",
        "last_tokens",
        "preemptions",
        "prefilled",
        "request",
        "state",
        "submitted_s",
        "tokens",
    )

    def __init__(self, request: Request, hashes: tuple[int, ...], submitted_s: float) -> None:
        self.id = request.id
        self.request = request
        self.hashes = hashes
        self.submitted_s = submitted_s
        self.first_token_s: float | None = None
        self.state = _WAITING
        self.prefilled = request.prefilled
        self.cached_tokens = 0
        self.preemptions = 0
        self.tokens = tokens = request.prompt_tokens
        self.last_tokens = tokens + request.output_tokens
        """Its tokens once it has emitted its last."""
        self.computed = 0
        self.blocks = 0
        self.anchor = 0
