"""Routers that tell each other their load over a network that loses, delays and reorders."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from router.adapters.load import decode, encode
from router.core.dispatch import Dispatch, DispatchSettings
from router.core.elsewhere import Told
from router.core.flight import Flight
from router.core.peers import SILENT_S, Peers
from router.core.queue.waiting import Place
from router.core.request import Outcome, Route
from router.core.workers.worker import Load, Worker
from tests.unit.router.builders import fleet, members, pool, request
from weir.domain.fleet import Role
from weir.domain.ids import PoolId, RouterId, WorkerId

_POOL = PoolId("a")
_WORKERS = ("w1", "w2")


@dataclass
class _Router:
    """`tell` returns what goes out; what comes in goes through the wire's form."""

    name: str
    dispatch: Dispatch = field(init=False)
    peers: Peers = field(init=False)
    now_s: float = 0.0
    sequence: int = 0
    flights: list[Flight] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dispatch = Dispatch(
            fleet([pool(_POOL, Role.AGG)]),
            RouterId(self.name),
            DispatchSettings(),
            lambda at_s: None,
        )
        self.dispatch.apply_members(members(_POOL, *_WORKERS), 0.0)
        self.peers = Peers(lambda process, told: self.dispatch.told(process, told, self.now_s))

    def send(self) -> Place | None:
        flight = self.dispatch.open(request(10), self.now_s)
        placed = self.dispatch.place(flight, self.now_s)
        if isinstance(placed, Place):
            placed.resume = lambda route: self.flights.append(flight)
            return placed
        assert isinstance(placed, Route)
        self.flights.append(flight)
        return None

    def end_one(self) -> None:
        if self.flights:
            self.flights.pop(0).finish(Outcome.COMPLETED, self.now_s)

    def tell(self) -> tuple[int, bytes]:
        self.sequence += 1
        told = self.dispatch.load()
        message = encode(told, RouterId(self.name), "p", self.sequence)
        return self.sequence, message.SerializeToString()

    def hear(self, sender: str, sequence: int, message: bytes) -> None:
        told = decode(type(encode(Told(), RouterId("r"), "p", 1)).FromString(message))
        if self.peers.hear(sender, sequence, told, self.now_s):
            self.dispatch.admit(self.now_s)

    def at(self, now_s: float) -> None:
        self.now_s = now_s
        if self.peers.forget(now_s):
            self.dispatch.admit(now_s)

    def worker(self, name: str) -> Worker:
        return self.dispatch.pools[_POOL].workers[WorkerId(name)]

    def own(self, name: str) -> Load:
        return self.dispatch.load().loads.get(_POOL, {}).get(WorkerId(name), Load())


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "end", "tell", "tell", "deliver", "deliver", "again", "wait"]),
        st.integers(0, 1),
        st.integers(0, 9),
    ),
    max_size=80,
)


@given(_STEPS)
def test_of_others_counts_what_was_told_last_and_is_fresh(
    steps: list[tuple[str, int, int]],
) -> None:
    routers = [_Router("a"), _Router("b")]
    wire: list[tuple[int, int, bytes]] = []
    newest: list[tuple[int, float, dict[str, Load]]] = [(0, 0.0, {}), (0, 0.0, {})]
    said: dict[tuple[int, int], dict[str, Load]] = {}
    now_s = 0.0
    for what, who, at in steps:
        router = routers[who]
        if what == "send":
            router.send()
        elif what == "end":
            router.end_one()
        elif what == "tell":
            sequence, message = router.tell()
            said[who, sequence] = {name: router.own(name) for name in _WORKERS}
            wire.append((who, sequence, message))
        elif what in ("deliver", "again") and wire:
            at %= len(wire)
            sender, sequence, message = wire[at] if what == "again" else wire.pop(at)
            routers[1 - sender].hear(routers[sender].name, sequence, message)
            if sequence > newest[sender][0]:
                newest[sender] = sequence, now_s, said[sender, sequence]
        elif what == "wait":
            now_s += at / 5.0
            for each in routers:
                each.at(now_s)
        for who, router in enumerate(routers):
            _, came_s, loads = newest[1 - who]
            fresh = now_s <= came_s + SILENT_S
            for name in _WORKERS:
                others = loads.get(name, Load()) if fresh else Load()
                worker, own = router.worker(name), router.own(name)
                assert worker.in_flight == own.in_flight + others.in_flight
                assert worker.kv_tokens == own.kv_tokens + others.kv_tokens
                assert worker.queued_tokens == own.queued_tokens + others.queued_tokens


def _exchange(*routers: _Router) -> None:
    for teller in routers:
        sequence, message = teller.tell()
        for hearer in routers:
            if hearer is not teller:
                hearer.hear(teller.name, sequence, message)


def test_two_routers_keep_the_room_of_an_engine_together() -> None:
    # Two workers of 8 sequences. Each router alone would send 16.
    one, two = _Router("a"), _Router("b")
    for _ in range(10):
        one.send()
        _exchange(one, two)
        two.send()
        _exchange(one, two)
    assert [one.worker(name).in_flight for name in _WORKERS] == [8, 8]
    assert len(one.flights) + len(two.flights) == 16
    assert one.dispatch.waiting and two.dispatch.waiting


def test_the_load_of_a_router_that_was_killed_is_forgotten_within_the_bound() -> None:
    one, two = _Router("a"), _Router("b")
    for _ in range(8):
        one.send()
        two.send()
    _exchange(one, two)
    place = one.send()
    assert place is not None
    one.at(SILENT_S)
    assert place.route is None
    one.at(SILENT_S + 0.01)
    assert place.route is not None
    assert sum(one.worker(name).in_flight for name in _WORKERS) == 9


def test_a_message_that_comes_after_its_sender_was_forgotten_changes_nothing() -> None:
    one, two = _Router("a"), _Router("b")
    two.send()
    late = two.tell()
    _exchange(one, two)
    one.at(3.0)
    one.hear("b", *late)
    assert sum(one.worker(name).in_flight for name in _WORKERS) == 0
    assert len(one.peers) == 0


def test_a_router_that_comes_to_full_engines_is_not_starved() -> None:
    # One has requests waiting at all times, and sees at once when one of its own has ended.
    one, two = _Router("a"), _Router("b")
    for _ in range(30):
        one.send()
    _exchange(one, two)
    place = two.send()
    waited_s = 0.0
    while place is not None and place.route is None and waited_s < 10.0:
        waited_s += 0.25
        one.at(waited_s)
        two.at(waited_s)
        one.end_one()
        one.send()
        _exchange(one, two)
    assert waited_s == 0.0


def test_where_all_have_requests_waiting_nobody_has_less_than_half_of_what_others_have() -> None:
    # 16 sequences of room. The one that was there first has all of it, and lets it go as they end.
    one, two = _Router("a"), _Router("b")
    for _ in range(60):
        one.send()
    _exchange(one, two)
    for _ in range(60):
        two.send()
    most = 0
    for step in range(40):
        (one, two)[step % 2].end_one()
        _exchange(one, two)
        most = max(most, sum(one.worker(name).in_flight for name in _WORKERS))
    assert one.dispatch.waiting and two.dispatch.waiting
    assert most <= 24
    assert len(one.flights) + len(two.flights) == 16
    assert min(len(one.flights), len(two.flights)) >= 6
