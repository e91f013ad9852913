"""Sequences that wait for a place: first come, first served, the preempted before all."""

from collections import OrderedDict

from weir.engine.request import Sequence

__all__ = ["WaitingQueue"]


class WaitingQueue:
    """`tokens`: what the waiting will have to compute, the prefix cache aside."""

    __slots__ = ("_sequences", "tokens")

    def __init__(self) -> None:
        self._sequences: OrderedDict[str, Sequence] = OrderedDict()
        self.tokens = 0

    def __len__(self) -> int:
        return len(self._sequences)

    @property
    def head(self) -> Sequence | None:
        return next(iter(self._sequences.values()), None)

    def append(self, sequence: Sequence) -> None:
        self._sequences[sequence.id] = sequence
        self.tokens += _work_tokens(sequence)

    def put_first(self, sequence: Sequence) -> None:
        self.append(sequence)
        self._sequences.move_to_end(sequence.id, last=False)

    def remove(self, sequence: Sequence) -> None:
        del self._sequences[sequence.id]
        self.tokens -= _work_tokens(sequence)


def _work_tokens(sequence: Sequence) -> int:
    return 0 if sequence.prefilled else sequence.tokens
