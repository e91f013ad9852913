"""What a fault is, and the stage on which it happens."""

from collections.abc import Callable
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from weir.simulator.faults.timed import Span

if TYPE_CHECKING:
    from weir.simulator.roles.together import Roles
    from weir.simulator.world import World

__all__ = ["RARITIES", "Fault", "Heal", "Stage", "calm_s"]

Heal = Callable[[], None]

RARITIES = (0.7, 1.5, 4.0)
"""By how much faults differ in a run with several."""
_FIRST_S = 10.0
_CALM_SHARE = 1.0 / 3.0


class Fault(Protocol):
    """Made anew for each run."""

    @property
    def name(self) -> str: ...

    @property
    def help(self) -> str:
        """One line, for `--help` and the manual."""
        ...

    @property
    def of_roles(self) -> bool:
        """It befalls weir's own processes or messages; under other policies nothing happens."""
        ...

    def start(self, stage: "Stage") -> None:
        """Enter into the world's events what is to happen, until `stage.calm_s`."""
        ...


class Stage:
    """One fault's world, chance and time.

    It may break things from a little after the start until `calm_s`, by when all is mended: in
    the last third of the arrivals recovery is to be seen. `rarity` stretches the time between two
    happenings: runs in which some faults are rare show what is hidden when all are frequent, as in
    Groce et al., "Swarm testing", ISSTA 2012. With a `span` the fault is there from its beginning
    to its end: as one episode, or with moments as usual.
    """

    def __init__(
        self, world: "World", fault: Fault, *, rarity: float = 1.0, span: Span | None = None
    ) -> None:
        self.world = world
        self.fault = fault.name
        self.span = span
        self.rng: Random = world.random(f"fault:{fault.name}")
        self.calm_s = calm_s(world) if span is None else span.end_s
        self.from_s = -inf if span is None else span.begin_s
        """What is not an episode may be broken from here on."""
        first_s = world.scenario.start_s + _FIRST_S
        self._begin_s = min(first_s if span is None else span.begin_s, self.calm_s)
        self._rarity = rarity

    @property
    def roles(self) -> "Roles":
        """Weir's processes. Raises `RuntimeError` under another policy."""
        if self.world.roles is None:
            raise RuntimeError(f"fault {self.fault} needs weir's roles, which this policy lacks")
        return self.world.roles

    @property
    def is_on(self) -> bool:
        """Whether things may be broken now."""
        return self.from_s <= self.world.now_s < self.calm_s

    def note(self, what: str, **more: Any) -> None:
        """Enter into the journal what has happened."""
        self.world.journal.note(self.world.now_s, "fault", fault=self.fault, what=what, **more)

    def moments(self, gap_s: float, happen: Callable[[], None]) -> None:
        """Let it happen at chance moments, `gap_s` apart in the mean."""
        at_s = self._begin_s + self._gap_s(gap_s) / 2.0
        while at_s < self.calm_s:
            self.world.events.at(at_s, _call, happen)
            at_s += self._gap_s(gap_s)

    def episodes(
        self, gap_s: float, length_s: tuple[float, float], begin: Callable[[], Heal | None]
    ) -> None:
        """Break something for a while, again and again, `gap_s` between two in the mean.

        `begin` returns what mends it, or None if there was nothing to break.
        """

        def breaks(end_s: float) -> None:
            heal = begin()
            if heal is not None:
                self.world.events.at(end_s, _call, heal)

        if self.span is not None:
            self.world.events.at(self.span.begin_s, breaks, self.span.end_s)
            return
        at_s = self._begin_s + self._gap_s(gap_s) / 2.0
        while at_s < self.calm_s:
            end_s = min(at_s + self.rng.uniform(*length_s), self.calm_s)
            self.world.events.at(at_s, breaks, end_s)
            at_s = end_s + self._gap_s(gap_s)

    def _gap_s(self, mean_s: float) -> float:
        return self._rarity * self.rng.expovariate(1.0 / mean_s)


def calm_s(world: "World") -> float:
    """From when on nothing is broken any more."""
    scenario = world.scenario
    return scenario.end_s - _CALM_SHARE * (scenario.end_s - scenario.start_s)


def _call(happen: Callable[[], None]) -> None:
    happen()
