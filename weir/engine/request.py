"""What the engine model works on: a request as submitted and a sequence as it is served."""

from dataclasses import dataclass
from enum import Enum, auto

__all__ = ["Refusal", "Request", "Sequence", "SequenceState"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Prompt and output of known length; `output_tokens` is the stop, not an upper limit.

    `block_hashes` names the full blocks of the prompt, first to last, each hash covering
    everything before it too, so that equal hashes mean equal prefixes. It may be shorter than
    the prompt has blocks; blocks without a hash are never shared.

    `prefilled`: the prompt's KV was computed elsewhere and has arrived, so there is no prefill
    work and the first token comes from the first iteration. `hold`: the KV stays after the
    last token, for another engine to fetch, until `EngineModel.release`.
    """

    id: str
    prompt_tokens: int
    output_tokens: int
    block_hashes: tuple[int, ...] = ()
    prefilled: bool = False
    hold: bool = False

    def __post_init__(self) -> None:
        if self.prompt_tokens < 1 or self.output_tokens < 1:
            raise ValueError(f"request {self.id}: prompt and output need at least one token")


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


class Sequence:
    """A request being served. `EngineModel` alone changes it; others read the public names.

    Public: `id`, `request`, `state`, `submitted_s`, `first_token_s` (None before it),
    `cached_tokens` (prompt tokens found in the prefix cache on first admission) and
    `preemptions`. The rest is bookkeeping: while it decodes, how many tokens it has follows from
    `anchor` and the engine's step count, so that an iteration costs nothing per sequence.
    """

    __slots__ = (
        "anchor",
        "blocks",
        "cached_tokens",
        "computed",
        "emitted",
        "finish_step",
        "first_token_s",
        "hashes",
        "id",
        "preemptions",
        "prefilled",
        "request",
        "state",
        "submitted_s",
    )

    def __init__(self, request: Request, hashes: tuple[int, ...], submitted_s: float) -> None:
        self.id = request.id
        self.request = request
        self.hashes = hashes
        self.submitted_s = submitted_s
        self.first_token_s: float | None = None
        self.state = SequenceState.WAITING
        self.prefilled = request.prefilled
        self.cached_tokens = 0
        self.preemptions = 0
        self.emitted = 0
        self.computed = 0
        self.blocks = 0
        self.anchor = 0
        self.finish_step = 0

    @property
    def tokens(self) -> int:
        """Prompt and output so far; holds while the sequence waits or prefills."""
        return self.request.prompt_tokens + self.emitted
