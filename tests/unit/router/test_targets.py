"""What classes are to meet can change while requests come: the plan carries it."""

from router.core.dispatch import Dispatch, DispatchSettings
from router.core.flight import Flight
from router.core.queue.waiting import Place
from router.core.request import Route
from tests.unit.router.builders import fleet, members, pool, request, request_class
from weir.domain.fleet import Role
from weir.domain.ids import ClassName, RouterId
from weir.domain.overrides import ClassTargets
from weir.domain.planning import RoutingPlan

CHAT = request_class("chat", isl=(0, 500), ttft_s=5.0, itl_s=0.1, priority=1)
BATCH = request_class("batch", ttft_s=60.0, itl_s=1.0)


class Router:
    def __init__(self) -> None:
        self.sent: list[str] = []
        self.version = 0
        self.dispatch = Dispatch(
            fleet((pool("a", Role.AGG),), (CHAT, BATCH)),
            RouterId("r"),
            DispatchSettings(),
            lambda _: None,
        )

    def plan(self, at_s: float = 0.0, **targets: ClassTargets) -> None:
        self.version += 1
        plan = RoutingPlan(
            term=1,
            version=self.version,
            targets={ClassName(name): changed for name, changed in targets.items()},
        )
        assert self.dispatch.apply_plan(plan, at_s)

    def open(self, isl: int = 100, at_s: float = 0.0, **changes: float) -> Flight:
        return self.dispatch.open(request(isl, max_tokens=10, **changes), at_s)

    def wait(self, name: str, isl: int = 100, at_s: float = 0.0) -> Place:
        """Nobody is ready yet, so it waits; `sent` gets its name when it goes."""
        place = self.dispatch.place(self.open(isl, at_s), at_s)
        assert isinstance(place, Place)

        def resume(_: Route) -> None:
            self.sent.append(name)

        place.resume = resume
        return place


def test_new_requests_are_to_meet_what_the_plan_says() -> None:
    router = Router()
    router.plan(chat=ClassTargets(ttft_s=2.0, itl_s=0.05, weight=3.0, priority=7))
    flight = router.open()
    assert (flight.sized.ttft_s, flight.sized.itl_s) == (2.0, 0.05)
    assert (flight.request_class.weight, flight.request_class.priority) == (3.0, 7)
    assert router.open(isl=900).request_class == BATCH


def test_a_value_that_the_plan_does_not_give_is_the_documents() -> None:
    router = Router()
    router.plan(chat=ClassTargets(ttft_s=2.0))
    assert (router.open().sized.ttft_s, router.open().sized.itl_s) == (2.0, 0.1)
    router.plan(chat=ClassTargets(itl_s=0.2))
    assert (router.open().sized.ttft_s, router.open().sized.itl_s) == (5.0, 0.2)
    router.plan()
    assert router.open().request_class == CHAT


def test_a_request_that_states_its_own_targets_keeps_them() -> None:
    router = Router()
    router.plan(chat=ClassTargets(ttft_s=2.0))
    assert router.open(ttft_s=9.0).sized.ttft_s == 9.0


def test_classes_that_are_not_in_the_document_are_ignored() -> None:
    router = Router()
    router.plan(nobody=ClassTargets(ttft_s=2.0))
    assert router.dispatch.classes == (CHAT, BATCH)


def test_those_who_wait_are_put_in_order_by_the_new_priority() -> None:
    router = Router()
    router.wait("chat 1")
    router.wait("batch 1", isl=900)
    router.plan(batch=ClassTargets(priority=5))
    # A batch of 1,000 tokens is not full yet: who yields to a higher priority may go.
    router.dispatch.apply_members(members("a", "w"), 1.0)
    assert router.sent == ["batch 1", "chat 1"]


def test_raising_a_priority_lets_nobody_overtake_within_the_class() -> None:
    router = Router()
    router.wait("old")
    router.plan(chat=ClassTargets(priority=9))
    router.wait("new", at_s=1.0)
    router.dispatch.apply_members(members("a", "w"), 1.0)
    assert router.sent == ["old", "new"]


def test_those_who_wait_step_aside_by_the_new_deadline() -> None:
    # A prompt takes 0.1 s: to be in time within 5 s it is sent by 4.9 s, within 4 s by 3.9 s.
    router = Router()
    place = router.wait("a")
    assert place.latest_s == 5.0 - 0.1
    router.plan(chat=ClassTargets(ttft_s=4.0))
    assert place.latest_s == 4.0 - 0.1
    first = router.wait("b", at_s=1.0)
    router.dispatch.apply_members(members("a", "w"), 4.5)
    assert router.sent == ["b"]
    first.flight.first_token(4.6)
    assert router.sent == ["b", "a"]


def test_who_was_late_is_in_time_again_when_the_target_is_loosened() -> None:
    router = Router()
    router.wait("a")
    router.wait("b", at_s=3.0)
    router.dispatch.admit(6.0)
    router.plan(at_s=6.0, chat=ClassTargets(ttft_s=60.0))
    router.dispatch.apply_members(members("a", "w"), 6.0)
    assert router.sent == ["a", "b"]
