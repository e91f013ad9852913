"""Keeps up with the Fleet document and the time of day.

Invariant: what counts is always a document that could be used, in one piece, but for pools that
may not change while they run; these stay as they were until nothing of them is left.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

from globalplanner.core.operators.effective import check_always, effective, left_out
from globalplanner.core.operators.proposals import Gate
from globalplanner.core.operators.windows import window_at
from globalplanner.core.study.differences import differences
from globalplanner.metrics import Metrics
from globalplanner.parts import mode_of
from globalplanner.service import GlobalPlanner
from weir.domain.errors import FleetError, InfeasibleFloorsError
from weir.domain.fleet import Fleet, PoolSpec
from weir.domain.overrides import Overrides
from weir.domain.schedule import BudgetWindow
from weir.fleet import LoadedFleet, PlannerSettings, load
from weir.runtime.lifecycle import Stop
from weir.runtime.watched import Signature, signature

__all__ = ["Reload"]

_log = logging.getLogger("weir.globalplanner")
_POLL_S = 1.0
_LIVE = ("approve", "advisory")
"""Settings that count without a restart."""


class Reload:
    """`loaded` is what the process was started with. `advisory`: whatever documents say. `planned`
    makes of a document's fleet what is planned here.

    A file is read once it has stayed as it is from one look to the next, so that none is read
    while it is being written.
    """

    def __init__(
        self,
        planner: GlobalPlanner,
        gate: Gate,
        loaded: LoadedFleet,
        metrics: Metrics,
        unix_s: Callable[[], float],
        *,
        advisory: bool = False,
        planned: Callable[[Fleet], Fleet] = lambda document: document,
    ) -> None:
        self._planner = planner
        self._gate = gate
        self._loaded = loaded
        self._metrics = metrics
        self._unix_s = unix_s
        self._advisory = advisory
        self._planned = planned
        self._seen: Signature | None = None
        self._read: Signature | None = None
        self._kept: tuple[str, ...] = ()
        self._left_out: tuple[str, ...] = ()
        self._unfit: Overrides | None = None
        """What was set live when the document did not fit it."""
        self._window: BudgetWindow | None = self._window_now()
        self.problem = ""
        """Why the document as it is now does not count; empty if it does."""

    async def run(self, stop: Stop) -> None:
        """Look every second until `stop`."""
        while not await stop.sleep(_POLL_S):
            try:
                await self.step()
            except Exception:
                _log.exception("the Fleet document could not be looked after; trying again")

    async def step(self) -> None:
        """Take over what has changed since the last look."""
        found = await asyncio.to_thread(signature, self._loaded.path)
        settled, self._seen = found == self._seen, found
        if found is None:
            self._read = None
            self._fail([f"{self._loaded.path}: is not there"])
        elif settled and (found != self._read or self._may_fit_now()):
            self._read = found
            await self._take_over()
        elif self._kept:
            self._count(self._planned(self._loaded.fleet))
        self._keep_time()
        self._tell_left_out()

    def _tell_left_out(self) -> None:
        """What was set live and does not count; an earlier leader may have set it."""
        planner = self._planner
        found = tuple(left_out(planner.document, planner.overrides))
        for line in found:
            if line not in self._left_out:
                _log.warning("set live, but does not count: %s", line)
        self._left_out = found

    def _may_fit_now(self) -> bool:
        """Whether what was set live when the document did not fit it has changed."""
        return self._unfit is not None and self._unfit != self._planner.overrides

    async def _take_over(self) -> None:
        self._unfit = None
        try:
            loaded = await asyncio.to_thread(load, self._loaded.path, self._loaded.sets)
        except FleetError as error:
            self._fail(str(error).splitlines())
            return
        if loaded.fleet.name != self._loaded.fleet.name:
            names = f"{self._loaded.fleet.name!r} to {loaded.fleet.name!r}"
            self._fail([f"{loaded.path}: metadata.name: changed from {names}: another fleet"])
            return
        try:
            self._count(self._planned(loaded.fleet))
        except InfeasibleFloorsError as error:
            self._unfit = self._planner.overrides
            self._fail([f"{loaded.path}: {error}; see what is set live with `weir status`"])
            return
        self._gate.switch(mode_of(loaded.planner, advisory=self._advisory))
        for line in _settings(self._loaded.planner, loaded.planner):
            _log.info("document: %s", line)
        self._loaded = loaded
        self._succeed()

    def _count(self, wanted: Fleet) -> None:
        """Let this document count, as far as pools that run can be as it has them.

        Raises `InfeasibleFloorsError`; then nothing has changed.
        """
        planner = self._planner
        document, kept = self._with_kept(wanted)
        if document != planner.document:
            lines = list(differences(planner.document, document))
            overrides = planner.overrides
            check_always(document, overrides)
            fleet = effective(document, overrides, self._unix_s())
            planner.revise(fleet, overrides, document=document)
            self._window = self._window_now()
            for line in lines:
                _log.info("document: %s", line)
        for line in kept:
            if line not in self._kept:
                _log.error("document: %s", line)
        self._kept = kept

    def _with_kept(self, wanted: Fleet) -> tuple[Fleet, tuple[str, ...]]:
        """`wanted`, but pools that run keep their role and model; and what to say of these."""
        running = {pool.pool_id for pool in self._planner.standing().pools if pool.charged_gpus > 0}
        now = {pool.id: pool for pool in self._planner.document.pools if pool.id in running}
        pools, lines = [], []
        for pool in wanted.pools:
            was = now.get(pool.id)
            said = _cannot_change(was, pool) if was is not None else ""
            pools.append(was if was is not None and said else pool)
            lines += [said] if said else []
        return replace(wanted, pools=tuple(pools)), tuple(lines)

    def _keep_time(self) -> None:
        """Let the budget window of now count."""
        window = self._window_now()
        if window == self._window:
            return
        planner = self._planner
        fleet = effective(planner.document, planner.overrides, self._unix_s())
        gpus = planner.fleet.budget.gpus
        planner.revise(fleet, planner.overrides)
        self._window = window
        what = f"budget window {window.name} begins" if window else "no budget window counts now"
        _log.info("%s: %d -> %d GPUs", what, gpus, fleet.budget.gpus)

    def _window_now(self) -> BudgetWindow | None:
        return window_at(self._planner.document.budget.windows, self._unix_s())

    def _fail(self, problems: list[str]) -> None:
        problem = "\n".join(problems)
        if problem != self.problem:
            self.problem = problem
            self._metrics.document(usable=False)
            for line in problems:
                _log.error("the Fleet document cannot be used, the last good one counts: %s", line)

    def _succeed(self) -> None:
        if self.problem:
            _log.info("the Fleet document can be used again")
        self.problem = ""
        self._metrics.document(usable=True)


def _cannot_change(was: PoolSpec, now: PoolSpec) -> str:
    """Why the pool stays as it was while it runs; empty if it need not."""
    if (was.role, was.model) == (now.role, now.model):
        return ""
    return (
        f"pool {now.id} stays {was.role} of {was.model} and does not become {now.role} of "
        f"{now.model} before nothing of it runs: drain it, or give the new one another name"
    )


def _settings(before: PlannerSettings, after: PlannerSettings) -> Iterator[str]:
    for name in type(before).model_fields:
        was, now = getattr(before, name), getattr(after, name)
        if was != now:
            when = "" if name in _LIVE else "; counts after a restart"
            yield f"spec.planner.{name}: {was} -> {now}{when}"
