"""Sequences that wait for a place: first come, first served, the preempted before all.

Invariant: `head`, `count` and `tokens` are of those whose state is WAITING. One that was aborted
stays in the line behind the head, as DONE, until its turn or until most of the line is such.
"""

from collections import deque

from weir.engine.request import Sequence, SequenceState

__all__ = ["WaitingQueue"]

_WAITING = SequenceState.WAITING


class WaitingQueue:
    """`tokens`: what the waiting will have to compute, the prefix cache aside."""

    __slots__ = ("_line", "count", "head", "tokens")

    def __init__(self) -> None:
        self.head: Sequence | None = None
        self.count = 0
        self.tokens = 0
        self._line: deque[Sequence] = deque()

    def append(self, sequence: Sequence) -> None:
        self.count += 1
        if not sequence.prefilled:
            self.tokens += sequence.tokens
        if self.head is None:
            self.head = sequence
        else:
            self._line.append(sequence)

    def put_first(self, sequence: Sequence) -> None:
        self.count += 1
        if not sequence.prefilled:
            self.tokens += sequence.tokens
        if self.head is not None:
            self._line.appendleft(self.head)
        self.head = sequence

    def take(self) -> None:
        """Remove the head, which is still as it was when it was put here."""
        head, line = self.head, self._line
        assert head is not None
        self.count -= 1
        if not head.prefilled:
            self.tokens -= head.tokens
        self.head = None
        while line:
            sequence = line.popleft()
            if sequence.state is _WAITING:
                self.head = sequence
                return

    def remove(self, sequence: Sequence) -> None:
        """Remove a sequence that is DONE from now on, wherever it is."""
        if sequence is self.head:
            self.take()
            return
        self.count -= 1
        if not sequence.prefilled:
            self.tokens -= sequence.tokens
        if len(self._line) > 2 * self.count + 8:
            self._line = deque(each for each in self._line if each.state is _WAITING)
