"""One forward pass as planned, and what came of it."""

from weir.engine.request import Sequence

__all__ = ["Iteration", "Outcome"]


class Iteration:
    """One forward pass: what it works on and when it ends.

    `sequences` decode, over `context_tokens` tokens of KV together; `prefill_tokens` new prompt
    tokens are computed with them. `joining` get the first token of this admission at its end;
    `preempted` lost their place when it was planned.
    """

    __slots__ = (
        "context_tokens",
        "end_s",
        "joining",
        "preempted",
        "prefill_tokens",
        "sequences",
        "start_s",
    )

    def __init__(
        self, start_s: float, sequences: int, context_tokens: int, preempted: list[Sequence]
    ) -> None:
        self.start_s = start_s
        self.end_s = start_s
        self.prefill_tokens = 0
        self.sequences = sequences
        self.context_tokens = context_tokens
        self.joining: list[Sequence] = []
        self.preempted = preempted

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


class Outcome:
    """What an iteration brought: `emitted` tokens, one for each sequence it served to its end.

    Those are the sequences in `EngineModel.decoding` as it is afterwards, and `finished`, whose
    last token it was; `first` of them had none before.
    """

    __slots__ = ("emitted", "finished", "first")

    def __init__(self, emitted: int, first: list[Sequence], finished: list[Sequence]) -> None:
        self.emitted = emitted
        self.first = first
        self.finished = finished
