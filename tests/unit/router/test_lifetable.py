"""What outputs are expected to be: blended, censored, fading."""

from dataclasses import fields

import pytest

from router.core.lengths.lifetable import Expected, LifeTable, Prior, bucket, middle


def _table(prior_tokens: float = 256.0, memory: int = 256) -> LifeTable:
    return LifeTable(Prior.exponential(prior_tokens), memory)


def _end(table: LifeTable, *lengths: int, times: int = 1) -> None:
    for _ in range(times):
        for tokens in lengths:
            table.ended(tokens, bucket(tokens))


def test_a_prior_is_exponential_with_the_mean_it_is_given() -> None:
    # Median 256 ln 2 = 177, nine in ten below 256 ln 10 = 589; memoryless, so those that run have
    # put out 256 on average.
    expected = Prior.exponential(256.0).expect()
    assert expected.mean_tokens == 256
    assert expected.typical_tokens == pytest.approx(177, rel=0.05)
    assert expected.most_tokens == pytest.approx(589, rel=0.05)
    assert expected.held_tokens == pytest.approx(256, rel=0.05)


def test_a_new_group_expects_what_the_wider_one_does() -> None:
    wider = _table()
    _end(wider, 40, times=200)
    assert LifeTable(wider, 256).expect() == wider.expect()


def test_the_median_and_the_most_of_what_has_ended_are_told_apart_from_the_mean() -> None:
    # Nine short ones and a long one: the mean is of neither kind.
    table = _table(memory=100_000)
    _end(table, *[10] * 9, 1000, times=400)
    expected = table.expect()
    assert expected.mean_tokens == pytest.approx(109, rel=0.02)
    assert expected.typical_tokens == pytest.approx(10, abs=2)
    _end(table, 1000, times=900)
    assert table.expect().most_tokens == pytest.approx(1000, rel=0.2)


def test_those_that_run_have_put_out_more_than_half_a_mean_output() -> None:
    # Half are 10, half 990: at any moment nearly all that run are long, with 990 / 2 = 495 put out,
    # while half of the mean is 250.
    table = _table(memory=100_000)
    _end(table, 10, 990, times=2000)
    assert table.expect().held_tokens == pytest.approx(490, rel=0.03)


def test_outputs_of_one_length_hold_half_of_it() -> None:
    table = _table(memory=100_000)
    _end(table, 600, times=2000)
    assert table.expect().held_tokens == pytest.approx(300, rel=0.05)


def test_what_still_runs_tells_that_it_is_long_before_it_ends() -> None:
    # All that has ended is short because the long ones have not ended yet.
    blind, seeing = _table(), _table()
    for table in (blind, seeing):
        _end(table, 10, times=20)
    for _ in range(20):
        seeing.has_passed(0, bucket(1000))
    assert blind.expect().most_tokens < 300
    assert seeing.expect().typical_tokens > 10
    assert seeing.expect().most_tokens > 1000


def test_looking_at_what_runs_changes_nothing_once_it_has_ended() -> None:
    blind, seeing = _table(memory=100_000), _table(memory=100_000)
    for tokens in (10, 100, 1000) * 300:
        blind.ended(tokens, bucket(tokens))
        passed = 0
        for so_far in (8, 50, 300):
            if so_far < tokens:
                seeing.has_passed(passed, bucket(so_far))
                passed = bucket(so_far)
        seeing.ended(tokens, bucket(tokens), passed)
    once, twice = blind.expect(), seeing.expect()
    for field in fields(Expected):
        seen = getattr(twice, field.name)
        assert seen == pytest.approx(getattr(once, field.name), rel=0.02)


def test_a_change_is_followed_within_some_hundred_requests() -> None:
    table = _table()
    _end(table, 100, times=1000)
    _end(table, 500, times=700)
    assert table.expect().mean_tokens > 450
    assert table.expect().most_tokens == pytest.approx(500, rel=0.1)


def test_a_group_with_few_outputs_follows_a_change_of_the_wider_one() -> None:
    wider = _table()
    narrow = LifeTable(wider, 256)
    _end(narrow, 100, times=2)
    _end(wider, 100, times=100)
    assert narrow.expect().mean_tokens < 120
    _end(wider, 3000, times=1000)
    assert narrow.expect().mean_tokens > 2000


def test_ten_million_observations_are_no_more_than_some_hundred() -> None:
    table = _table(memory=2)  # Doubles its unit each time.
    _end(table, 100, times=5000)
    assert table.expect().mean_tokens == pytest.approx(100, rel=2.0)
    _end(table, 7, times=50)
    assert table.expect().typical_tokens < 256


def test_lengths_are_never_above_max_tokens_and_at_least_one() -> None:
    expected = Expected(256, 177, 589, 256)
    assert expected.within(None) is expected
    assert expected.within(589) is expected
    assert expected.within(100) == Expected(100, 100, 100, 50)
    assert expected.within(0) == Expected(1, 1, 1, 1)


def test_buckets_are_a_quarter_of_an_octave() -> None:
    assert [bucket(n) for n in (0, 1, 2, 4, 1024)] == [0, 0, 4, 8, 40]
    assert bucket(10**12) == bucket(10**9)
    assert all(bucket(middle(j)) == j for j in range(72))


def test_what_is_asked_for_is_ready_before_it_is_asked_for_again() -> None:
    table, never_asked = _table(), _table()
    table.expect()
    for each in (table, never_asked):
        _end(each, 40, times=100)
        each.freshen()
    shares = table.shares
    assert table.expect().typical_tokens == pytest.approx(40, abs=5)
    assert table.shares is shares
    shares = never_asked.shares
    assert never_asked.expect().typical_tokens == pytest.approx(40, abs=5)
    assert never_asked.shares is not shares


def test_a_group_that_is_known_well_leaves_the_wider_one_alone() -> None:
    wider = _table()
    narrow = LifeTable(wider, 256)
    for table in (wider, narrow):
        _end(table, 40, times=100)
    narrow.expect()
    shares = wider.shares
    for table in (wider, narrow):
        _end(table, 400, times=100)
    assert narrow.expect().mean_tokens > 200
    assert wider.shares is shares
    assert wider.expect().mean_tokens > 200
