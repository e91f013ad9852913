"""A pool gives back what it cannot start, and takes nothing of it without a new grant."""

from poolplanner.core.withdrawal import Withdrawal


def refuse(withdrawal: Withdrawal, held: int, now_s: float) -> bool:
    return [withdrawal.refused(held, now_s) for _ in range(3)][-1]


def test_one_refused_start_is_no_reason() -> None:
    withdrawal = Withdrawal()
    assert not withdrawal.refused(2, 0.0)
    withdrawal.started()
    assert [withdrawal.refused(2, 1.0), withdrawal.refused(2, 2.0)] == [False, False]
    assert withdrawal.most(5, 3.0) == 5


def test_three_in_a_row_are_and_only_a_lower_grant_ends_it() -> None:
    withdrawal = Withdrawal()
    assert refuse(withdrawal, 2, 0.0)
    assert withdrawal.most(5, 10.0) == 2
    assert withdrawal.most(5, 1000.0) == 2, "what it gave back may be another's by now"
    assert withdrawal.most(2, 29.0) == 2
    assert withdrawal.at == 2
    assert withdrawal.most(2, 30.0) == 2
    assert withdrawal.at is None
    assert withdrawal.most(4, 31.0) == 4


def test_it_lasts_twice_as_long_each_time_until_a_start_succeeds() -> None:
    withdrawal, now_s = Withdrawal(), 0.0
    for lasts_s in (30.0, 60.0, 120.0, 240.0, 240.0):
        assert refuse(withdrawal, 1, now_s)
        withdrawal.most(1, now_s + lasts_s - 1.0)
        assert withdrawal.at == 1
        now_s += lasts_s
        withdrawal.most(1, now_s)
        assert withdrawal.at is None
    withdrawal.started()
    assert refuse(withdrawal, 1, now_s)
    withdrawal.most(1, now_s + 30.0)
    assert withdrawal.at is None
