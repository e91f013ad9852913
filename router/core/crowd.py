"""Who of many workers is next, without looking at all of them: a heap of ranks.

Invariant: every usable worker has one entry that counts, of its newest rank, and nobody else has
any; entries that count no more stay in the heap until they come up or are too many.
"""

from collections.abc import Callable, Iterable, Sequence
from heapq import heapify, heappop, heappush
from math import inf

from router.core.workers import Rank, Worker

__all__ = ["Crowd"]

_OLD_ENTRIES = 1
"""For each that counts, before the heap is made anew."""
_ABSENT = -1
_Entry = tuple[Rank, int, int]
"""Rank, place, number."""


class Crowd:
    """Finds whom `min` by rank would find among the usable ones, the first among equals.

    `usable` is as of the last `recheck`, in no order; `next_probe_s`: when the next one is due.
    """

    def __init__(self, workers: Sequence[Worker], now_s: float) -> None:
        self._workers = workers
        self._heap: list[_Entry] = []
        self._numbers = [_ABSENT] * len(workers)
        """By place: number of the entry that counts."""
        self._count = 0
        self._failing: list[Worker] = []
        self.usable: list[Worker] = []
        self.next_probe_s = inf
        for place, worker in enumerate(workers):
            worker.place = place
        self.recheck(workers, now_s)

    def recheck(self, touched: Iterable[Worker], now_s: float) -> None:
        """Breakers of these may have changed; it may be time to probe others."""
        failing = []
        for worker in dict.fromkeys((*self._failing, *touched)):
            if not self._has(worker):
                continue
            present = self._numbers[worker.place] != _ABSENT
            if present is not worker.usable(now_s):
                self._leave(worker) if present else self._enter(worker)
            if worker.failures:
                failing.append(worker)
        self._failing = failing
        due = (w.ejected_until_s for w in self._failing)
        self.next_probe_s = min((at_s for at_s in due if at_s > now_s), default=inf)

    def changed(self, worker: Worker) -> None:
        """It has another rank than before. Nothing to do for one that is not among them."""
        if self._has(worker) and self._numbers[worker.place] != _ABSENT:
            self._push(worker)

    def least(self) -> Worker | None:
        heap, numbers = self._heap, self._numbers
        while heap:
            _, place, number = heap[0]
            if numbers[place] == number:
                return self._workers[place]
            heappop(heap)
        return None

    def first(self, suits: Callable[[Worker], bool], most: int) -> Worker | None:
        """The least one that suits, if it is one of the `most` least ones."""
        heap, found = self._heap, None
        passed: list[_Entry] = []
        while found is None and len(passed) < most:
            worker = self.least()
            if worker is None:
                break
            passed.append(heappop(heap))
            if suits(worker):
                found = worker
        for entry in passed:
            heappush(heap, entry)
        return found

    def _has(self, worker: Worker) -> bool:
        place = worker.place
        return place < len(self._workers) and self._workers[place] is worker

    def _enter(self, worker: Worker) -> None:
        self.usable.append(worker)
        self._push(worker)

    def _leave(self, worker: Worker) -> None:
        self.usable.remove(worker)
        self._numbers[worker.place] = _ABSENT

    def _push(self, worker: Worker) -> None:
        place = worker.place
        self._count = number = self._count + 1
        self._numbers[place] = number
        heappush(self._heap, (worker.rank, place, number))
        if len(self._heap) > (1 + _OLD_ENTRIES) * len(self._workers):
            self._renew()

    def _renew(self) -> None:
        numbers = self._numbers
        self._heap = [entry for entry in self._heap if numbers[entry[1]] == entry[2]]
        heapify(self._heap)
