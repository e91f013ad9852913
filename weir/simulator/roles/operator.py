"""A person who changes things live, as with `weir set`: one thing at a time, until it is durable.

What has been lost with the store is set again. Changes are applied as `globalplanner.operations`
does: one that is not stored in time is taken back, and may count all the same.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from globalplanner.core.operators.effective import check_always, effective
from globalplanner.service import GlobalPlanner
from weir.domain.errors import InfeasibleFloorsError
from weir.domain.fleet import Fleet
from weir.domain.overrides import Overrides

if TYPE_CHECKING:
    from weir.simulator.roles.global_planner import GlobalPlannerRole
    from weir.simulator.world import World

__all__ = ["Operator"]

_LOOK_S = 1.0
_POLL_S = 0.2
_STORED_S = 2.0
_FIELDS = ("budget_gpus", "frozen", "drained", "targets")


class Operator:
    """Does nothing before the first `want`."""

    def __init__(self, world: "World") -> None:
        self.wanted = Overrides()
        """What is to count."""
        self.busy = False
        """Whether a change is under way, or it is not known what counts."""
        self._world = world
        self._rng: Random = world.random("operator")
        self._possible: list[Overrides] = [Overrides()]
        """Any of these may count now."""
        self._ever: list[Overrides] = [Overrides()]
        self._wipes = 0
        self._begun = False

    def want(self, change: Callable[[Overrides], Overrides]) -> None:
        """From now on this is to count, too."""
        self.wanted = change(self.wanted)
        if not self._begun:
            self._begun = True
            self._world.invariants.budget.counts(self._fleets)
            self._world.every(_LOOK_S, self._look)

    def _fleets(self) -> Sequence[Fleet]:
        document, now_s = self._world.fleet, self._world.now_s
        return [effective(document, overrides, now_s) for overrides in self._possible]

    def _look(self) -> None:
        """Is it as it should be, wherever one looks?"""
        roles = self._world.roles
        assert roles is not None
        if roles.plane.store.wipes != self._wipes:
            self._wipes = roles.plane.store.wipes
            self._may_count(*self._ever)
        leading = [r for r in roles.global_planners if r.planner is not None and r.planner.term]
        if self.busy or not leading:
            return
        role = self._rng.choice(leading)
        assert role.planner is not None
        if role.planner.overrides != self.wanted or self._possible != [self.wanted]:
            self._set(role, role.planner)

    def _set(self, role: "GlobalPlannerRole", planner: GlobalPlanner) -> None:
        """The next thing that differs."""
        before, now_s = planner.overrides, self._world.now_s
        after = before
        for name in _FIELDS:
            if getattr(before, name) != getattr(self.wanted, name):
                changed: dict[str, Any] = {name: getattr(self.wanted, name)}
                after = replace(before, **changed)
                break
        try:
            check_always(planner.document, after)
            fleet = effective(planner.document, after, now_s)
            self._may_count(*self._possible, before, after)
            planner.revise(fleet, after)
        except InfeasibleFloorsError:
            return
        self.busy = True
        self._wait(role, planner, before, now_s + _STORED_S)

    def _wait(
        self,
        role: "GlobalPlannerRole",
        planner: GlobalPlanner,
        before: Overrides,
        until_s: float,
    ) -> None:
        world = self._world
        roles = world.roles
        assert roles is not None
        if role.planner is not planner or not planner.term:
            self.busy = False
        elif planner.is_stored:
            self.busy = False
            if roles.plane.store.wipes == self._wipes:
                self._counts(planner.overrides)
        elif world.now_s < until_s:
            world.events.after(_POLL_S, lambda _: self._wait(role, planner, before, until_s))
        else:
            self.busy = False
            with suppress(InfeasibleFloorsError):  # the document has changed meanwhile
                planner.revise(effective(planner.document, before, world.now_s), before)

    def _may_count(self, *overrides: Overrides) -> None:
        self._possible = _distinct(overrides)
        self._ever = _distinct([*self._ever, *overrides])
        self._world.invariants.budget.document_changed()

    def _counts(self, overrides: Overrides) -> None:
        if self._possible != [overrides]:
            self._possible = [overrides]
            self._world.invariants.budget.document_changed()


def _distinct(overrides: Sequence[Overrides]) -> list[Overrides]:
    found: list[Overrides] = []
    for each in overrides:
        if each not in found:
            found.append(each)
    return found
