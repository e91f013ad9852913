"""One forward pass as planned, and what came of it."""

from dataclasses import dataclass, field

from weir.engine.request import Sequence

__all__ = ["Iteration", "Outcome"]


@dataclass(slots=True, kw_only=True, eq=False)
class Iteration:
    """One forward pass: what it works on and when it ends.

    `sequences` decode, over `context_tokens` tokens of KV together; `prefill_tokens` new prompt
    tokens are computed with them. `joining` get the first token of this admission at its end;
    `preempted` lost their place when it was planned.
    """

    start_s: float
    duration_s: float
    prefill_tokens: int
    sequences: int
    context_tokens: int
    joining: list[Sequence] = field(default_factory=list)
    preempted: list[Sequence] = field(default_factory=list)

    @property
    def end_s(self) -> float:
        return self.start_s + self.duration_s


@dataclass(slots=True, kw_only=True, eq=False)
class Outcome:
    """What an iteration brought: `emitted` tokens, one for each sequence it served to its end.

    Those are the sequences in `EngineModel.decoding` as it is afterwards, and `finished`, whose
    last token it was; `first` of them had none before.
    """

    emitted: int
    first: list[Sequence]
    finished: list[Sequence]
