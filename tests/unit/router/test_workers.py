"""A pool's workers: membership, breaker, load and predictions."""

from dataclasses import replace

import pytest

from router.core.pool import Pool
from router.core.workers.worker import Worker
from tests.unit.router.builders import members, pool
from weir.domain.fleet import Role
from weir.domain.ids import WorkerId
from weir.domain.planning import PoolMembers

ANY: frozenset[WorkerId] = frozenset()


def _pool(role: Role = Role.PREFILL, *names: str) -> Pool:
    made = Pool(pool("p", role))
    made.apply(members("p", *(names or ("w1", "w2"))))
    return made


def _best(made: Pool, now_s: float = 0.0, exclude: frozenset[WorkerId] = ANY) -> str | None:
    worker = made.least_loaded(now_s, exclude)
    return worker.endpoint.id if worker else None


def _worker(made: Pool, name: str) -> Worker:
    return made.workers[WorkerId(name)]


def test_the_same_membership_again_changes_nothing() -> None:
    made = _pool()
    assert not made.apply(members("p", "w1", "w2", version=1))
    assert set(made.workers) == {"w1", "w2"}
    assert made.apply(members("p", "w3", version=2))
    assert set(made.workers) == {"w3"}


def test_a_draining_worker_gets_nothing_new_and_keeps_its_load() -> None:
    made = _pool()
    charge = made.charge(_worker(made, "w1").endpoint, kv_tokens=10)
    made.apply(members("p", "w1", "w2", version=2, draining="w1"))
    assert [w.endpoint.id for w in made.usable(0.0)] == ["w2"]
    assert _worker(made, "w1").in_flight == 1
    charge.release(0.0)
    assert _worker(made, "w1").in_flight == 0


def test_load_of_a_vanished_worker_goes_with_it() -> None:
    made = _pool()
    charge = made.charge(_worker(made, "w1").endpoint, kv_tokens=10)
    charge.depart(500, 0.0)
    made.apply(members("p", "w2", version=2))
    made.apply(members("p", "w1", "w2", version=3))
    charge.release(0.0)
    assert (_worker(made, "w1").in_flight, _worker(made, "w1").queued_tokens) == (0, 0)
    assert _worker(made, "w1").kv_tokens == 0


def test_prefill_goes_to_the_worker_with_the_fewest_queued_tokens() -> None:
    made = _pool()
    made.charge(_worker(made, "w1").endpoint).depart(100, 0.0)
    two = made.charge(_worker(made, "w2").endpoint)
    two.depart(300, 0.0)
    assert _best(made) == "w1"
    two.first_token(0.0)
    assert _best(made) == "w2"


def test_decode_goes_to_the_worker_with_the_least_kv() -> None:
    made = _pool(Role.DECODE)
    made.charge(_worker(made, "w1").endpoint, kv_tokens=900)
    made.charge(_worker(made, "w2").endpoint, kv_tokens=400)
    made.charge(_worker(made, "w2").endpoint, kv_tokens=400)
    assert _best(made) == "w2"


def test_idle_workers_take_turns() -> None:
    made = _pool(Role.AGG, "w1", "w2", "w3")
    chosen = []
    for _ in range(6):
        worker = made.least_loaded(0.0, ANY)
        assert worker is not None
        chosen.append(worker.endpoint.id)
        made.charge(worker.endpoint).release(0.0)
    assert sorted(chosen[:3]) == sorted(chosen[3:]) == ["w1", "w2", "w3"]


def test_excluded_workers_are_passed_over() -> None:
    made = _pool()
    assert _best(made, exclude=frozenset({WorkerId("w1")})) == "w2"
    assert _best(made, exclude=frozenset({WorkerId("w1"), WorkerId("w2")})) is None


def test_a_failing_worker_is_ejected_for_twice_as_long_each_time() -> None:
    made = _pool(Role.PREFILL, "w1")
    for failed_at_s, away_s in ((0.0, 0.5), (1.0, 1.0), (3.0, 2.0), (9.0, 4.0), (19.0, 8.0)):
        made.fail(WorkerId("w1"), failed_at_s)
        assert _best(made, failed_at_s + away_s - 0.01) is None
        assert _best(made, failed_at_s + away_s) == "w1"
    made.fail(WorkerId("w1"), 100.0)
    assert made.next_probe_s(100.0) == pytest.approx(108.0)


def test_many_requests_failing_at_once_count_once() -> None:
    made = _pool(Role.PREFILL, "w1")
    for _ in range(20):
        made.fail(WorkerId("w1"), 0.0)
    assert _best(made, 0.5) == "w1"


def test_one_request_probes_an_ejected_worker_and_success_closes_the_breaker() -> None:
    made = _pool(Role.PREFILL, "w1")
    made.fail(WorkerId("w1"), 0.0)
    probe = made.charge(_worker(made, "w1").endpoint)
    assert _best(made, 1.0) is None
    probe.succeeded()
    assert _best(made, 1.0) == "w1"


def test_a_probe_that_is_cancelled_makes_room_for_the_next_one() -> None:
    made = _pool(Role.PREFILL, "w1")
    made.fail(WorkerId("w1"), 0.0)
    made.charge(_worker(made, "w1").endpoint).release(0.0)
    assert _best(made, 1.0) == "w1"


def test_prefill_time_counts_what_is_queued_before() -> None:
    made = _pool()
    worker = _worker(made, "w1")
    assert made.prefill_s(worker, 200) == pytest.approx(0.2)
    made.charge(worker.endpoint).depart(1500, 0.0)
    assert made.prefill_s(worker, 200) == pytest.approx(1.7)


def test_prefill_room_ends_when_two_batches_are_queued() -> None:
    made = _pool()
    worker = _worker(made, "w1")
    made.charge(worker.endpoint).depart(999, 0.0)
    assert made.has_prefill_room(worker)
    made.charge(worker.endpoint).depart(1000, 0.0)
    assert made.has_prefill_room(worker)
    made.charge(worker.endpoint).depart(1, 0.0)
    assert not made.has_prefill_room(worker)


def test_behind_a_long_prompt_prefill_room_ends_when_a_batch_waits() -> None:
    made = _pool()
    worker = _worker(made, "w1")
    long, _ = (made.charge(worker.endpoint) for _ in range(2))
    long.depart(3500, 0.0)
    made.charge(worker.endpoint).depart(999, 0.0)
    assert made.has_prefill_room(worker)
    made.charge(worker.endpoint).depart(1, 0.0)
    assert not made.has_prefill_room(worker)
    long.prefilled(1.0)
    assert made.has_prefill_room(worker)


def test_who_yields_leaves_the_second_batch_to_others() -> None:
    made = _pool()
    worker = _worker(made, "w1")
    made.charge(worker.endpoint).depart(999, 0.0)
    assert made.has_prefill_room(worker, yields=True)
    made.charge(worker.endpoint).depart(1, 0.0)
    assert not made.has_prefill_room(worker, yields=True)
    assert made.has_prefill_room(worker)


def test_decode_room_ends_at_the_engines_sequences_or_its_kv() -> None:
    # 8 sequences; 10,000 KV tokens.
    made = _pool(Role.DECODE)
    worker = _worker(made, "w1")
    for _ in range(7):
        made.charge(worker.endpoint, kv_tokens=1000)
    assert made.has_decode_room(worker, 3000)
    assert not made.has_decode_room(worker, 3001)
    made.charge(worker.endpoint, kv_tokens=0)
    assert not made.has_decode_room(worker, 1)


def test_of_what_sequences_may_still_put_out_the_root_of_the_squares_is_kept_free() -> None:
    # Four that hold 1,000 and may come to hold 2,000 each: 4,000, and 2,000 for all deviations.
    made = _pool(Role.DECODE)
    worker = _worker(made, "w1")
    charges = [made.charge(worker.endpoint, kv_tokens=1000, kv_spread=1000**2) for _ in range(4)]
    assert made.has_decode_room(worker, 4000)
    assert not made.has_decode_room(worker, 4001)
    for charge in charges:
        charge.release(0.0)
    assert (worker.kv_tokens, worker.kv_spread) == (0, 0)
    # One alone has to fit with all that it may put out, whoever comes second.
    made.charge(worker.endpoint, kv_tokens=1000, kv_spread=3000**2)
    assert made.has_decode_room(worker, 6000)
    assert not made.has_decode_room(worker, 6001)


def test_the_late_leave_an_eighth_of_the_sequences_and_of_the_kv() -> None:
    # One of 8 sequences; each of those there holds 1,000 KV tokens of 10,000.
    made = _pool(Role.DECODE)
    worker = _worker(made, "w1")
    for _ in range(6):
        made.charge(worker.endpoint, kv_tokens=1000)
    assert made.has_decode_room(worker, 3000, late=True)
    assert not made.has_decode_room(worker, 3001, late=True)
    made.charge(worker.endpoint, kv_tokens=0)
    assert not made.has_decode_room(worker, 1, late=True)
    assert made.has_decode_room(worker, 1)


def test_a_prompt_that_others_follow_is_done_with_the_batch_that_it_ends_in() -> None:
    # 200 tokens behind 1,500 end in the second batch of 1,000: at 2.0 s, of which 0.3 s are over.
    made = _pool()
    worker = _worker(made, "w1")
    assert made.crowded_prefill_s(worker, 200, 5.0) == pytest.approx(0.2)
    made.charge(worker.endpoint).depart(1500, 5.0)
    assert made.crowded_prefill_s(worker, 200, 5.3) == pytest.approx(1.7)
    assert made.crowded_prefill_s(worker, 600, 5.3) == pytest.approx(2.7)


def test_who_comes_while_a_batch_runs_waits_for_its_end_and_for_a_batch_more() -> None:
    # The batch of 600 that has begun ends at 0.6 s, the next one, full, at 1.6 s.
    made = _pool(Role.PREFILL)
    worker = _worker(made, "w1")
    first = made.charge(worker.endpoint)
    first.depart(600, 5.0)
    assert made.crowded_prefill_s(worker, 100, 5.2) == pytest.approx(1.4)
    made.charge(worker.endpoint).depart(100, 5.2)
    made.charge(worker.endpoint).depart(800, 5.3)
    assert made.crowded_prefill_s(worker, 100, 5.3) == pytest.approx(1.3)
    assert made.crowded_prefill_s(worker, 200, 5.3) == pytest.approx(2.3)
    # Both have begun together; what is behind them has the next batch.
    first.prefilled(5.6)
    assert made.crowded_prefill_s(worker, 200, 5.6) == pytest.approx(1.9)


def test_an_idle_worker_has_room_for_any_request_that_fits_its_context() -> None:
    made = _pool(Role.DECODE)
    assert made.has_decode_room(_worker(made, "w1"), 1_000_000)


def _parts(made: Pool, requests: int, now_s: float) -> dict[str, int]:
    parts = dict.fromkeys(("w1", "w2"), 0)
    for _ in range(requests):
        worker = made.least_loaded(now_s, ANY)
        assert worker is not None
        made.charge(worker.endpoint).depart(100, now_s)
        parts[worker.endpoint.id] += 1
    return parts


def _joined(slow_start_s: float) -> Pool:
    """`w1` has served for a while, `w2` joins at 100 s."""
    made = Pool(pool("p", Role.PREFILL), slow_start_s=slow_start_s)
    made.apply(members("p", "w1"))
    made.usable(0.0)
    made.apply(members("p", "w1", "w2", version=2))
    made.usable(100.0)
    return made


def test_a_worker_that_has_joined_comes_to_its_part_slowly() -> None:
    # It counts as four times as loaded at first, two and a half times half way.
    assert _parts(_joined(10.0), 10, 100.0) == {"w1": 8, "w2": 2}
    assert _parts(_joined(10.0), 14, 105.0) == {"w1": 10, "w2": 4}
    assert _parts(_joined(10.0), 10, 110.0) == {"w1": 5, "w2": 5}
    assert _parts(_joined(0.0), 10, 100.0) == {"w1": 5, "w2": 5}


def test_a_cold_worker_takes_the_next_request_if_it_is_idle_or_the_only_one() -> None:
    made = _joined(10.0)
    made.charge(_worker(made, "w1").endpoint).depart(10, 100.0)
    assert _best(made, 100.0) == "w2"
    made.charge(_worker(made, "w2").endpoint).depart(900, 100.0)
    assert _best(made, 100.0) == "w1"
    made.apply(members("p", "w1", "w2", version=3, draining="w1"))
    assert _best(made, 100.0) == "w2"


def test_a_worker_whose_breaker_has_closed_is_cold_again() -> None:
    made = _joined(10.0)
    made.fail(WorkerId("w1"), 120.0)
    probe = made.charge(_worker(made, "w1").endpoint)
    probe.succeeded()
    probe.release(121.0)
    assert _parts(made, 10, 121.0) == {"w1": 2, "w2": 8}


def test_requests_of_before_a_restart_do_not_pin_the_worker_at_another_address() -> None:
    made = _pool(Role.AGG, "w1", "w2")
    charge = made.charge(_worker(made, "w1").endpoint, kv_tokens=10)
    charge.depart(500, 0.0)
    old = _worker(made, "w1")
    moved = replace(old.endpoint, port=old.endpoint.port + 1)
    made.apply(PoolMembers(pool_id=made.id, version=2, workers=(moved,)))
    new = _worker(made, "w1")
    assert new is not old
    assert (new.in_flight, new.queued_tokens, new.kv_tokens) == (0, 0, 0)
    made.charge(moved, kv_tokens=7).depart(20, 0.0)
    charge.first_token(1.0)
    charge.completed(5, 0.1, 2.0)
    charge.release(2.0)
    charge.release(3.0)
    assert (new.in_flight, new.queued_tokens, new.kv_tokens) == (1, 20, 7)
    assert (old.in_flight, old.queued_tokens, old.kv_tokens) == (0, 0, 0)
    assert made.log.queued_tokens == 20
