"""When a GlobalPlanner leads, and when it is sure that it does."""

from typing import cast

from globalplanner.leadership import Leadership
from globalplanner.service import GlobalPlanner
from weir.domain.errors import UnavailableError
from weir.runtime.clock import Clock
from weir.runtime.lifecycle import Stop


class World:
    """A store of terms and a planner in one; a step is a second."""

    def __init__(self) -> None:
        self.stored = 0
        self.connected = True
        self.term = 0
        self.seen_term = 0
        self.said: list[str] = []
        self._stop = Stop()
        self.leadership = Leadership(
            self, _Time(), confirm_s=1.0, unconfirmed_s=3.0, announce=self._announce
        )

    async def newest(self) -> int:
        self._check()
        return self.stored

    async def take(self, *, above: int = 0) -> int:
        self._check()
        self.stored = max(self.stored, above) + 1
        return self.stored

    def lead(self, term: int) -> None:
        self.term = term

    def yield_to(self, why: str) -> None:
        self.term = 0
        self.said.append(why)

    async def step(self) -> None:
        """What `run` does once."""
        _Time.at_s += 1.0
        self._stop = _OneRound()
        await self.leadership.run(cast(GlobalPlanner, self), self._stop)

    def _check(self) -> None:
        if not self.connected:
            raise UnavailableError("the store is away")

    async def _announce(self, leading: bool) -> None:
        pass


class _Time(Clock):
    at_s = 100.0

    @staticmethod
    def wall_s() -> float:
        return _Time.at_s


class _OneRound(Stop):
    async def sleep(self, wall_s: float) -> bool:
        self.set()
        return True


async def test_it_takes_a_term_above_all_and_is_sure_while_it_can_look() -> None:
    world = World()
    world.stored = 6
    await world.step()
    assert (world.term, world.leadership.sure()) == (7, True)
    world.connected = False
    await world.step()
    assert (world.term, world.leadership.sure()) == (7, False)


async def test_a_later_term_ends_its_lead_for_good() -> None:
    world = World()
    await world.step()
    world.stored = 9
    for _ in range(2):
        await world.step()
        assert (world.term, world.leadership.sure(), world.stored) == (0, False, 9)
    assert world.said == ["a later GlobalPlanner has taken term 9"]


async def test_a_term_that_the_store_has_lost_is_not_led_on() -> None:
    # A later leader may have been lost with it, whose pools this one knows nothing of.
    world = World()
    await world.step()
    world.stored = 0
    await world.step()
    assert world.term == 2
    assert world.said == ["the store has lost term 1, it says 0"]


async def test_a_pool_that_has_seen_a_later_term_makes_it_take_a_higher_one() -> None:
    world = World()
    await world.step()
    world.term, world.seen_term = 0, 40
    await world.step()
    assert world.term == 41
