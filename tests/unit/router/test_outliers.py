"""A worker much worse than its pool is left alone for longer, and never too many are."""

import pytest

from router.core.pool import Pool
from router.core.traffic import EjectionReason
from router.core.workers.worker import Worker
from tests.unit.router.builders import members, pool
from weir.domain.fleet import Role
from weir.domain.ids import WorkerId

ANY: frozenset[WorkerId] = frozenset()


def _pool(count: int, role: Role = Role.AGG) -> Pool:
    made = Pool(pool("p", role))
    made.apply(members("p", *(f"w{i}" for i in range(count))))
    made.usable(0.0)
    return made


def _worker(made: Pool, at: int) -> Worker:
    return made.workers[WorkerId(f"w{at}")]


def _serve(made: Pool, at: int, now_s: float) -> None:
    charge = made.charge(_worker(made, at).endpoint)
    charge.depart(10, now_s)
    charge.first_token(now_s)
    charge.release(now_s)


def _fails_every_third(made: Pool, at: int, times: int, from_s: float = 0.0) -> float:
    now_s = from_s
    for _ in range(times):
        made.fail(WorkerId(f"w{at}"), now_s)
        now_s += 1.0
        for other in (*range(len(made.workers)), at):
            _serve(made, other, now_s)
    return now_s


def test_a_worker_that_fails_much_more_often_than_others_is_away_for_ten_seconds() -> None:
    made = _pool(4)
    now_s = _fails_every_third(made, 0, 4)
    assert _worker(made, 0) in made.usable(now_s)
    made.fail(WorkerId("w0"), now_s)
    assert made.log.ejections[EjectionReason.ERRORS] == 1
    assert made.log.ejections[EjectionReason.FAILURE] == 4
    assert _worker(made, 0) not in made.usable(now_s + 9.9)
    assert _worker(made, 0) in made.usable(now_s + 10.0)


def test_what_it_had_before_does_not_bring_an_outlier_back_but_a_probe_does() -> None:
    made = _pool(4)
    running = made.charge(_worker(made, 0).endpoint)
    running.depart(10, 0.0)
    now_s = _fails_every_third(made, 0, 4)
    made.fail(WorkerId("w0"), now_s)
    running.first_token(now_s)
    assert _worker(made, 0) not in made.usable(now_s + 1.0)
    _serve(made, 0, now_s + 10.0)
    assert _worker(made, 0).state == "ready"
    made.fail(WorkerId("w0"), now_s + 11.0)
    assert _worker(made, 0) not in made.usable(now_s + 30.9)
    assert _worker(made, 0) in made.usable(now_s + 31.0)


def test_nobody_is_an_outlier_where_all_fail_alike() -> None:
    made = _pool(4)
    for step in range(12):
        for at in range(4):
            _fails_every_third(made, at, 1, 2.0 * step)
    assert made.log.ejections[EjectionReason.ERRORS] == 0


def test_a_few_errors_in_very_many_requests_make_no_outlier() -> None:
    made = _pool(4)
    for step in range(6):
        _fails_every_third(made, 0, 1, 2.0 * step)
        for _ in range(40):
            _serve(made, 0, 2.0 * step + 1.0)
    assert made.log.ejections[EjectionReason.ERRORS] == 0


@pytest.mark.parametrize(("count", "away"), [(1, 0), (2, 1), (3, 1), (6, 2), (12, 4)])
def test_never_more_than_a_third_is_away_and_one_always_stays(count: int, away: int) -> None:
    # Half of them hang: 15 seconds would be enough for a prompt of 1,000 tokens.
    made = _pool(count)
    for at in range(count // 2):
        made.charge(_worker(made, at).endpoint).depart(1000, 0.0)
    assert len(made.usable(20.0)) == count - away
    assert made.log.ejections[EjectionReason.STUCK] == away


def test_a_worker_whose_prompt_gets_no_first_token_is_left_alone_until_it_does() -> None:
    # A prompt of 1,000 tokens takes 1 s: five times that and ten seconds are too long.
    made = _pool(3)
    stuck = made.charge(_worker(made, 0).endpoint)
    stuck.depart(1000, 0.0)
    assert _worker(made, 0) in made.usable(15.0)
    assert _worker(made, 0) not in made.usable(16.1)
    assert made.log.ejections[EjectionReason.STUCK] == 1
    assert stuck.first_token(17.0)
    assert _worker(made, 0) in made.usable(17.0)


def test_nobody_is_stuck_where_all_wait_long() -> None:
    made = _pool(3)
    for at in range(3):
        made.charge(_worker(made, at).endpoint).depart(1000, at * 1.0)
    assert len(made.usable(60.0)) == 3
