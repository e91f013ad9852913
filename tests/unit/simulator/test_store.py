"""The simulated store is as unsure as the real one, and no more."""

from collections.abc import Callable, Generator
from random import Random

import pytest

from weir.domain.errors import StaleRevisionError, UnavailableError
from weir.simulator.events import EventHeap
from weir.simulator.network import Network
from weir.simulator.process import Process
from weir.simulator.store import Store
from weir.simulator.tasks import Reply


class World:
    """A store and one process that asks it, 0.1 s apart."""

    def __init__(self) -> None:
        self.events = EventHeap(0.0)
        self.network = Network(self.events, Random(0), delay_s=0.1)
        self.store = Store(self.network)
        self.process = Process("planner")
        self.store.process.start()
        self.process.start()

    def ask(self, serve: Callable[[], object], *, timeout_s: float = 1.0) -> Reply[object]:
        store = self.store.process
        return self.network.ask(self.process, store, "record", serve, timeout_s=timeout_s)

    def settled(self, reply: Reply[object], limit_s: float) -> object:
        """The reply's value or error, after all that happens until `limit_s`."""
        self.events.run_until(limit_s, lambda: None)
        waiting: Generator[Reply[object], None, object] = reply.__await__()
        try:
            next(waiting)
        except StopIteration as ended:
            return ended.value
        except (StaleRevisionError, UnavailableError) as error:
            return type(error)
        return None


@pytest.fixture
def world() -> World:
    return World()


def test_a_write_whose_answer_is_lost_has_happened(world: World) -> None:
    def write() -> int:
        revision = world.store.update("k", "mine", 0)
        world.network.weather.silent.add("record")
        return revision

    assert world.settled(world.ask(write), 2.0) is UnavailableError
    world.network.weather.silent.clear()
    assert world.settled(world.ask(lambda: world.store.get("k")), 4.0) == ("mine", 1)


def test_a_late_write_fits_no_record_of_a_store_that_has_lost_everything_since(
    world: World,
) -> None:
    store = world.store
    before = store.update("k", "mine", 0)
    store.wipe()
    assert store.update("k", "another's", 0) > before
    with pytest.raises(StaleRevisionError):
        store.update("k", "mine, late", before)


def test_a_write_may_happen_after_a_read_that_does_not_show_it(world: World) -> None:
    first = world.store.put("k", "before")
    world.network.weather.late_s["record"] = 5.0
    late = world.ask(lambda: world.store.update("k", "late", first))
    world.network.weather.late_s.clear()
    read = world.ask(lambda: world.store.get("k"))
    assert world.settled(read, 2.0) == ("before", first)
    assert world.settled(late, 2.0) is UnavailableError
    world.events.run_until(6.0, lambda: None)
    assert world.store.get("k") == ("late", first + 1)
    again = world.ask(lambda: world.store.update("k", "again", first))
    assert world.settled(again, 8.0) is StaleRevisionError


def test_a_store_that_has_lost_its_data_does_not_say_who_has_lost(world: World) -> None:
    newest = [world.store.put("k", value) for value in "abc"][-1]
    world.store.wipe()
    with pytest.raises(UnavailableError):
        world.store.update("k", "d", newest)
    assert world.store.update("k", "d", 0) == newest + 1


def test_who_is_split_off_reads_what_was_there_and_writes_nothing(world: World) -> None:
    first = world.store.put("k", "before")
    world.store.split_off("planner")
    world.store.put("k", "after")
    assert world.store.get("k", "planner") == ("before", first)
    assert world.store.get("k", "another") == ("after", first + 1)
    with pytest.raises(UnavailableError):
        world.store.update("k", "mine", first, "planner")
    world.store.join("planner")
    assert world.store.get("k", "planner") == ("after", first + 1)
    with pytest.raises(StaleRevisionError):
        world.store.update("k", "mine", first, "planner")
