"""What other processes have counts as this one's, and goes with them."""

import pytest

from router.core.dispatch import Dispatch, DispatchSettings
from router.core.elsewhere import Told
from router.core.flight import Flight
from router.core.queue.waiting import Place
from router.core.request import Leg, Outcome, Route, Shed
from router.core.workers.worker import Load, Worker
from tests.unit.router.builders import fleet, members, pool, request
from weir.domain.fleet import Role
from weir.domain.ids import ClassName, PoolId, RouterId, WorkerId
from weir.domain.legs import LegRules


def _process(*workers: str, role: Role = Role.AGG, **settings: int) -> Dispatch:
    """One of several that send to the same workers of one pool."""
    made = Dispatch(fleet([pool("a", role)]), RouterId("r"), DispatchSettings(**settings), _asleep)
    made.apply_members(members("a", *workers), 0.0)
    return made


def _asleep(at_s: float) -> None: ...


def _load(of: Dispatch, worker: str) -> Load:
    return of.load().loads.get(PoolId("a"), {}).get(WorkerId(worker), Load())


def _worker(of: Dispatch, name: str) -> Worker:
    return of.pools[PoolId("a")].workers[WorkerId(name)]


def _send(by: Dispatch, now_s: float = 0.0, **profile: int) -> tuple[Flight, Leg]:
    flight = by.open(request(**profile), now_s)
    route = by.place(flight, now_s)
    assert isinstance(route, Route)
    return flight, route.decode


def test_the_next_request_avoids_the_worker_that_another_process_uses() -> None:
    one, two = _process("w1", "w2"), _process("w1", "w2")
    _, leg = _send(one)
    two.told("one", one.load(), 0.0)
    _, other = _send(two)
    assert other.worker.id != leg.worker.id


def test_a_process_tells_only_what_is_its_own() -> None:
    one, two = _process("w1"), _process("w1")
    _send(one, isl=100)
    two.told("one", one.load(), 0.0)
    assert two.load() == Told(loads={})
    _send(two, isl=200)
    assert _load(two, "w1").in_flight == 1
    assert _load(two, "w1").queued_tokens == 200
    assert _worker(two, "w1").in_flight == 2
    assert _worker(two, "w1").queued_tokens == 300
    one.told("two", two.load(), 0.0)
    assert _load(one, "w1").queued_tokens == 100


def test_room_is_that_of_all_processes() -> None:
    # The engine runs 8 sequences; prompts are short, so that nothing but sequences fills it.
    one, two = _process("w1"), _process("w1")
    flights = [_send(by, isl=10)[0] for by in (one, two) for _ in range(4)]
    two.told("one", one.load(), 0.0)
    place = two.place(two.open(request(isl=10), 0.0), 0.0)
    assert isinstance(place, Place)
    called: list[Route] = []
    place.resume = called.append
    flights[0].finish(Outcome.COMPLETED, 1.0)
    assert two.told("one", one.load(), 1.0)
    two.admit(1.0)
    assert len(called) == 1


def test_who_is_forgotten_takes_everything_along() -> None:
    one, two = _process("w1"), _process("w1")
    flights = [_send(one, isl=10)[0] for _ in range(8)]
    flights[0].first_token(0.5)
    two.told("one", one.load(), 1.0)
    worker = _worker(two, "w1")
    assert (worker.in_flight, worker.ideal.sequences) == (8, 1)
    two.told("one", None, 2.0)
    assert (worker.in_flight, worker.kv_tokens, worker.queued_tokens) == (0, 0, 0)
    assert (worker.ideal.sequences, worker.ideal.kv_tokens) == (0, 0)
    assert two.pools[PoolId("a")].queued_tokens == 0


def test_load_on_a_worker_that_has_left_or_is_another_now_harms_nobody() -> None:
    one, two = _process("w1"), _process("w1")
    _send(one, isl=10)
    two.told("one", one.load(), 0.0)
    old = _worker(two, "w1")
    two.apply_members(members("a", version=2), 0.0)
    two.told("one", one.load(), 0.0)
    assert old.in_flight == 0
    two.apply_members(members("a", "w1", version=3), 0.0)
    assert _worker(two, "w1").in_flight == 0
    two.told("one", one.load(), 0.0)
    assert _worker(two, "w1").in_flight == 1
    two.told("one", None, 0.0)
    assert _worker(two, "w1").in_flight == 0


def test_bounds_of_the_queue_are_those_of_all_processes() -> None:
    one = _process(queue_requests=3)
    one.told("two", Told(waiting={ClassName("all"): (2, 1)}), 0.0)
    assert isinstance(one.place(one.open(request(), 0.0), 0.0), Place)
    assert isinstance(one.place(one.open(request(), 0.0), 0.0), Shed)
    one.told("two", Told(waiting={ClassName("all"): (1, 1)}), 0.0)
    assert isinstance(one.place(one.open(request(), 0.0), 0.0), Place)


def _pair() -> Dispatch:
    pools = [pool("p", Role.PREFILL), pool("d", Role.DECODE)]
    made = Dispatch(fleet(pools), RouterId("r"), DispatchSettings(), _asleep)
    made.apply_members(members("p", "w1"), 0.0)
    made.apply_members(members("d", "w2"), 0.0)
    return made


@pytest.mark.parametrize(("tells", "pace"), [(True, 1.0), (False, 1.09)])
def test_a_worker_is_not_slow_because_others_use_it_too(tells: bool, pace: float) -> None:
    # 1 ms per token: a prompt of 1,000 takes 1 s, and that of the other process goes first.
    one, two = _pair(), _pair()
    first, second = _send(one, isl=1000)[0], _send(two, isl=1000)[0]
    if tells:
        two.told("one", one.load(), 0.0)
    first.prefill_done(1.0)
    if tells:
        two.told("one", one.load(), 1.0)
    worker = two.pools[PoolId("p")].workers[WorkerId("w1")]
    assert worker.prompts.running_s(1.5) == (0.5 if tells else 1.5)
    second.prefill_done(2.0)
    assert worker.pace == pytest.approx(pace, abs=0.005)


def test_what_decodes_elsewhere_lengthens_the_iterations_that_are_expected() -> None:
    one, two = _process("w1"), _process("w1")
    for by in (one, two):
        _send(by, isl=10)[0].first_token(1.0)
    assert _worker(two, "w1").ideal.sequences == 1
    two.told("one", one.load(), 1.0)
    assert _worker(two, "w1").ideal.sequences == 2
    assert _load(two, "w1").decoding == 1


def test_prompts_that_a_decode_worker_computes_are_those_of_all_processes() -> None:
    pools = [pool("p", Role.PREFILL), pool("a", Role.DECODE)]
    settings = DispatchSettings(legs=LegRules(direct_below_tokens=200))
    one, two = (Dispatch(fleet(pools), RouterId("r"), settings, _asleep) for _ in range(2))
    for each in (one, two):
        each.apply_members(members("p", "p1"), 0.0)
        each.apply_members(members("a", "w1"), 0.0)
    first, _ = _send(one, isl=100)
    second, _ = _send(one, isl=50)
    two.told("one", one.load(), 0.0)
    assert _worker(two, "w1").direct_tokens == 150
    assert two.pools[PoolId("a")].direct_s(_worker(two, "w1"), 30) == pytest.approx(0.18)
    assert _load(two, "w1") == Load()
    first.first_token(0.1)
    two.told("one", one.load(), 0.1)
    assert _worker(two, "w1").direct_tokens == 50
    # What was computed meanwhile does not make the worker look slow to others.
    assert _worker(two, "w1").ideal.prompts_s == pytest.approx(0.1)
    second.finish(Outcome.CANCELLED, 0.2)
    two.told("one", None, 0.2)
    assert _worker(two, "w1").direct_tokens == 0


def test_room_at_a_draining_worker_is_for_nobody_who_waits() -> None:
    # All 8 sequences of w1 are taken when it is announced as draining.
    one = _process("w1")
    flights = [_send(one, isl=10)[0] for _ in range(8)]
    place = one.place(one.open(request(10), 0.0), 0.0)
    assert isinstance(place, Place)
    one.apply_members(members("a", "w1", version=2, draining="w1"), 1.0)
    for flight in flights:
        flight.finish(Outcome.COMPLETED, 2.0)
    one.told("two", Told(loads={PoolId("a"): {WorkerId("w1"): Load(4)}}), 3.0)
    one.told("two", None, 4.0)
    one.admit(5.0)
    assert place.route is None
    one.apply_members(members("a", "w1", "w2", version=3, draining="w1"), 6.0)
    assert place.route is not None
    assert place.route.decode.worker.id == "w2"


def test_load_of_others_on_a_worker_that_has_left_takes_no_part_of_the_pool() -> None:
    one = _process("w1", "w2")
    one.told(
        "two", Told(loads={PoolId("a"): {WorkerId("w1"): Load(in_flight=8, kv_tokens=80)}}), 0.0
    )
    one.apply_members(members("a", "w2", version=2), 0.0)
    one.told(
        "two", Told(loads={PoolId("a"): {WorkerId("w1"): Load(in_flight=8, kv_tokens=80)}}), 1.0
    )
    assert one.pools[PoolId("a")].others_in_flight == 0
    assert _worker(one, "w2").in_flight == 0
