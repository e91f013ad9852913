"""Questions that are answered later, and answers that never come."""

from random import Random

import pytest

from weir.domain.errors import UnavailableError, WeirError
from weir.simulator.events import EventHeap
from weir.simulator.network import Network
from weir.simulator.process import Process
from weir.simulator.tasks import Reply, Task


class World:
    """A planner asks a store, 0.1 s away on average, and notes what it hears and when."""

    def __init__(self) -> None:
        self.events = EventHeap(0.0)
        self.network = Network(self.events, Random(0), delay_s=0.1)
        self.planner, self.store = Process("planner"), Process("store")
        self.planner.start()
        self.store.start()
        self.heard: list[object] = []
        self.later: Reply[str] = Reply()
        self.served = 0

    def serve(self) -> Reply[str]:
        self.served += 1
        return self.later

    def ask(self, timeout_s: float = 5.0) -> None:
        async def asking() -> None:
            try:
                self.heard.append(
                    await self.network.ask(
                        self.planner, self.store, "record", self.serve, timeout_s=timeout_s
                    )
                )
            except WeirError as error:
                self.heard.append(type(error))

        Task(self.events, asking())

    def run(self, until_s: float) -> None:
        self.events.run_until(until_s, lambda: None)


@pytest.fixture
def world() -> World:
    return World()


def test_what_is_served_later_is_answered_then(world: World) -> None:
    world.ask()
    world.run(2.0)
    assert world.heard == []
    world.later.answer("done")
    world.run(2.1 + 0.1)
    assert world.heard == ["done"]


def test_what_fails_later_fails_at_the_one_who_has_asked(world: World) -> None:
    world.ask()
    world.run(1.0)
    world.later.fail(WeirError("no"))
    world.run(2.0)
    assert world.heard == [WeirError]


def test_an_answer_that_is_too_late_changes_nothing(world: World) -> None:
    world.ask(timeout_s=1.0)
    world.run(2.0)
    world.later.answer("done")
    world.run(3.0)
    assert world.heard == [UnavailableError]


def test_of_kinds_that_go_unanswered_what_was_asked_is_done(world: World) -> None:
    world.network.weather.unanswered["record"] = 1.0
    world.later.answer("done")
    world.ask(timeout_s=1.0)
    world.run(2.0)
    assert (world.served, world.heard) == (1, [UnavailableError])
    world.network.weather.unanswered.clear()
    world.ask()
    world.run(4.0)
    assert world.heard[1:] == ["done"]
