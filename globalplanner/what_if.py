"""Questions about other GPUs and loads, answered beside the decisions and never holding them up.

A thread of low priority looks for the answer, one at a time. HiGHS lets other threads run
meanwhile.
"""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from globalplanner.core.arbiter.snapshot import Rules, Snapshot
from globalplanner.core.operators.effective import gpu_classes
from globalplanner.core.study.study import WhatIfAnswer, study
from weir.domain.errors import UnavailableError
from weir.domain.fleet import Fleet

__all__ = ["Planner", "WhatIf"]

_WITHIN_S = 8.0
_LATE_S = 1.0
"""What is not timed takes less than this: building the program."""
_FRESH_S = 2.0
"""The same moment answers questions for so long."""
_MOST_KEPT = 16
_NICE = 5

_Question = tuple[tuple[tuple[str, int], ...], float]


class Planner(Protocol):
    """`GlobalPlanner`, as far as questions are about it."""

    @property
    def rules(self) -> Rules: ...

    @property
    def fleet(self) -> Fleet: ...

    def moment(self) -> Snapshot | None: ...

    def not_ready(self) -> str | None: ...


class WhatIf:
    """`wall_s`: a clock that never goes back, to be read by any thread."""

    def __init__(
        self, planner: Planner, wall_s: Callable[[], float], *, within_s: float = _WITHIN_S
    ) -> None:
        self._planner = planner
        self._wall_s = wall_s
        self._within_s = within_s
        self._thread = ThreadPoolExecutor(1, "what-if", initializer=_yield_to_others)
        self._busy: asyncio.Future[WhatIfAnswer | None] | None = None
        self._moment: Snapshot | None = None
        self._moment_at_s = 0.0
        self._known: dict[_Question, WhatIfAnswer] = {}

    async def ask(
        self, more_gpus_by_class: Mapping[str, int], load_factor: float = 1.0, /
    ) -> WhatIfAnswer:
        """With GPUs more (or fewer) of some classes, and so many times the load.

        Raises `ValueError`, and `UnavailableError` if this process does not lead, nobody knows
        what is offered, or it takes too long.
        """
        more = {name: gpus for name, gpus in sorted(more_gpus_by_class.items()) if gpus}
        self._check(more, load_factor)
        end_s = self._wall_s() + self._within_s
        await self._turn(end_s)
        snapshot = self._snapshot()
        question = (tuple(more.items()), load_factor)
        if question not in self._known:
            answer = await self._found(snapshot, more, load_factor, end_s)
            if len(self._known) >= _MOST_KEPT:
                self._known.clear()
            self._known[question] = answer
        return self._known[question]

    def close(self) -> None:
        """Without waiting for what is being looked for."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _check(self, more: Mapping[str, int], load_factor: float) -> None:
        known = gpu_classes(self._planner.fleet)
        unknown = sorted(more.keys() - known)
        if unknown:
            raise ValueError(
                f"no node group has {', '.join(unknown)}; there are {', '.join(sorted(known))}"
            )
        if not load_factor > 0.0:
            raise ValueError(f"load_factor must be above 0, not {load_factor:g}")

    async def _turn(self, end_s: float) -> None:
        """Until nobody else's answer is being looked for."""
        while self._busy is not None and not self._busy.done():
            left_s = end_s - self._wall_s()
            if left_s <= 0.0:
                raise UnavailableError("another question is being looked into; ask again")
            await asyncio.wait({self._busy}, timeout=left_s)

    def _snapshot(self) -> Snapshot:
        now_s = self._wall_s()
        if self._moment is None or now_s - self._moment_at_s > _FRESH_S:
            self._moment, self._moment_at_s = self._planner.moment(), now_s
            self._known.clear()
        snapshot = self._moment
        if snapshot is None:
            raise UnavailableError(f"this GlobalPlanner {self._planner.not_ready()}")
        if snapshot.loads is None:
            self._moment = None
            raise UnavailableError(f"what is offered is not known: {snapshot.holding}")
        return snapshot

    async def _found(
        self, snapshot: Snapshot, more: Mapping[str, int], load_factor: float, end_s: float
    ) -> WhatIfAnswer:
        rules, wall_s = self._planner.rules, self._wall_s

        def look() -> WhatIfAnswer | None:
            return study(snapshot, rules, more, load_factor, lambda: end_s - wall_s())

        self._busy = asyncio.get_running_loop().run_in_executor(self._thread, look)
        await asyncio.wait({self._busy}, timeout=max(0.0, end_s - wall_s()) + _LATE_S)
        answer = self._busy.result() if self._busy.done() else None
        if answer is None:
            pools = len(snapshot.pools)
            raise UnavailableError(
                f"no answer was found within {self._within_s:g} s for {pools} pools; ask again"
            )
        return answer


def _yield_to_others() -> None:
    """The planner's own thread comes first."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
