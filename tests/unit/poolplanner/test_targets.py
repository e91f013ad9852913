"""Wishes of a pool that is sized by thresholds; loads are of one engine, more above 1.0, fewer
below 0.5 unless said otherwise, so that the middle is 0.75."""

from dataclasses import dataclass, field

import pytest

from poolplanner.core.targets import Wishes
from poolplanner.core.targets_fullness import Fullness
from weir.domain.targets import Target, Thresholds

THRESHOLDS = Thresholds(
    target=Target.LOAD, up=1.0, down=0.5, up_included=False, down_included=False
)
DWELL_S = 60.0


def even(load: float, engines: int, **changes: object) -> Fullness:
    """All engines have the same load."""
    total = load * engines
    fields = {"hot": load, "fullest": load, "least": total, "most": total}
    return Fullness(**{**fields, **changes})  # type: ignore[arg-type]


@dataclass
class Pool:
    """Looked at every 5 s. It has what it wishes `start_up_s` later."""

    prefills: bool = False
    idle_s: float | None = None
    ready: int = 2
    start_up_s: float = 0.0
    now_s: float = 0.0
    starting: list[float] = field(default_factory=list)
    wishes: Wishes = field(init=False)

    def __post_init__(self) -> None:
        self.wishes = Wishes(
            thresholds=THRESHOLDS, dwell_s=DWELL_S, prefills=self.prefills, idle_s=self.idle_s
        )

    def look(self, fullness: Fullness | None) -> int | None:
        self.now_s += 5.0
        self.ready += sum(at_s <= self.now_s for at_s in self.starting)
        self.starting = [at_s for at_s in self.starting if at_s > self.now_s]
        has = self.ready + len(self.starting)
        return self.wishes.look(fullness, self.now_s, ready=self.ready, has=has)

    def follow(self, wish: int | None) -> None:
        if wish is None:
            return
        has = self.ready + len(self.starting)
        self.starting += [self.now_s + self.start_up_s] * (wish - has)
        self.ready = min(self.ready, wish)

    def looks(self, fullness: Fullness | None, times: int) -> int | None:
        wish = None
        for _ in range(times):
            wish = self.look(fullness)
        return wish


def test_a_single_look_above_is_no_shortage_but_five_seconds_are() -> None:
    pool = Pool()
    assert pool.look(even(1.2, 2)) == 2
    assert pool.look(even(0.8, 2)) == 2
    assert pool.look(even(1.2, 2)) == 2
    # 2.4 in the middle of the band is 3.2 engines.
    assert pool.look(even(1.2, 2)) == 4


def test_a_step_is_sized_from_the_load_and_at_most_doubles_what_is_ready() -> None:
    # 4.0 engines' worth on 4 engines and 1.0 queued: 6.7 engines.
    assert Pool(ready=4).looks(even(1.25, 4), 2) == 7
    assert Pool(ready=4).looks(even(9.0, 4), 2) == 8


def test_a_backlog_is_not_answered_again_while_its_replicas_start() -> None:
    pool = Pool(ready=4, start_up_s=30.0)
    for _ in range(7):
        pool.follow(pool.look(even(9.0, 4)))
        assert pool.ready + len(pool.starting) <= 8
    pool.follow(pool.look(even(9.0, 8)))
    assert (pool.ready, len(pool.starting)) == (8, 8)


def test_one_hot_engine_gets_the_pool_one_more_up_to_twice_what_the_load_needs() -> None:
    # One engine has 1.5, nobody else anything: 2 replicas would do.
    pool = Pool(ready=3)
    hot = Fullness(hot=1.5, fullest=1.5, least=1.5, most=1.5)
    assert pool.looks(hot, 2) == 4
    pool.follow(4)
    assert pool.looks(hot, 30) == 4


def test_between_the_thresholds_a_pool_asks_for_what_it_has() -> None:
    pool = Pool(ready=3)
    assert {pool.look(even(load, 3)) for load in (0.6, 0.9, 0.5, 1.0) * 20} == {3}


def test_fewer_are_asked_for_once_all_engines_were_below_for_the_dwell_time() -> None:
    pool = Pool(ready=3)
    # 0.9 in the middle of the band is 1.2 engines; of three one goes at a time.
    assert pool.looks(even(0.3, 3), 12) == 3
    assert pool.look(even(0.3, 3)) == 2
    pool.follow(2)
    # 0.45 each is still below, and no fewer would do.
    assert pool.looks(even(0.45, 2), 40) == 2


def test_one_look_in_the_band_begins_the_dwell_time_anew() -> None:
    pool = Pool(ready=3)
    pool.looks(even(0.3, 3), 12)
    assert pool.look(even(0.6, 3)) == 3
    assert pool.looks(even(0.3, 3), 11) == 3
    assert pool.looks(even(0.3, 3), 2) == 2


def test_at_most_a_quarter_goes_at_once() -> None:
    pool = Pool(ready=20)
    sizes = []
    for _ in range(60):
        pool.follow(pool.look(even(0.01, pool.ready)))
        sizes.append(pool.ready)
    assert sorted(set(sizes), reverse=True) == [20, 15, 12, 9, 7]


def test_what_went_is_not_called_back_on_constant_load() -> None:
    for total in (0.3, 0.9, 1.4, 2.2, 3.7, 7.5):
        pool = Pool(ready=10)
        sizes = []
        for _ in range(200):
            pool.follow(pool.look(even(total / pool.ready, pool.ready)))
            sizes.append(pool.ready)
        assert sizes == sorted(sizes, reverse=True)
        assert not THRESHOLDS.above(total / sizes[-1])


def test_what_was_too_few_is_not_tried_again_while_the_load_is_much_the_same() -> None:
    # On one replica the load is four times what it is on two: engines are slower with more to do.
    pool = Pool(ready=2)
    loads = {1: 1.2, 2: 0.3, 3: 0.2}
    sizes = []
    for _ in range(300):
        pool.follow(pool.look(even(loads[pool.ready], pool.ready)))
        sizes.append(pool.ready)
    assert min(sizes) == 1
    assert set(sizes[50:]) == {2}
    # With a fifth less it is tried again.
    assert pool.looks(even(0.23, 2), 13) == 1


def test_the_last_replica_goes_when_nothing_was_there_for_as_long_as_the_document_says() -> None:
    pool = Pool(ready=1, idle_s=300.0)
    assert pool.looks(even(0.0, 1), 100) == 1
    assert pool.looks(even(0.0, 1, idle=True), 59) == 1
    assert pool.look(even(0.0, 1, idle=True)) == 0
    pool.ready = 0
    assert pool.look(even(0.0, 0)) == 1
    assert Pool(ready=1).looks(even(0.0, 1, idle=True), 1000) == 1


def test_unknown_asks_for_nothing_and_counts_as_needed_for_the_dwell_time_after() -> None:
    pool = Pool(ready=4)
    pool.looks(even(0.1, 4), 12)
    assert pool.look(None) is None
    assert pool.looks(even(0.1, 4), 11) == 4
    assert pool.look(even(0.1, 4)) == 3


def test_a_shortage_before_an_outage_is_believed_anew_after_it() -> None:
    pool = Pool()
    pool.look(even(1.2, 2))
    assert pool.look(None) is None
    assert pool.look(even(1.2, 2)) == 2
    assert pool.look(even(1.2, 2)) == 4


def test_while_all_replicas_start_nobody_knows_what_they_will_hold() -> None:
    wishes = Wishes(thresholds=THRESHOLDS, dwell_s=DWELL_S, prefills=False)
    assert wishes.look(even(0.0, 0), 0.0, ready=0, has=3) is None


def test_a_prefill_pool_goes_down_to_where_engines_compute_four_fifths_of_the_time() -> None:
    # 4.0 engines' worth of work: 5 replicas, one by one (a quarter of 7 is one).
    pool = Pool(prefills=True, ready=7)
    sizes = []
    for _ in range(60):
        pool.follow(pool.look(even(0.0, pool.ready, busy=4.0)))
        sizes.append(pool.ready)
    assert sorted(set(sizes), reverse=True) == [7, 6, 5]


def test_a_prefill_pool_grows_by_what_comes_and_what_is_to_be_caught_up_on_in_time() -> None:
    # 4.0 engines' worth at 80 % are 5, and 50 s of queue within 20 s 2.5 more.
    pool = Pool(prefills=True, ready=4)
    assert pool.looks(even(9.0, 4, busy=4.0, backlog_s=50.0), 2) == 8
    pool = Pool(prefills=True, ready=4)
    assert pool.looks(even(9.0, 4, busy=4.0, backlog_s=20.0), 2) == 6


def test_a_prefill_pool_whose_engines_do_not_tell_their_time_goes_down_one_by_one() -> None:
    pool = Pool(prefills=True, ready=20)
    assert pool.looks(even(0.0, 20), 13) == 19


@pytest.mark.parametrize("load", [0.0, 0.3, 0.7, 1.2])
def test_the_wish_of_a_planner_that_has_just_begun_is_no_less_than_there_is(load: float) -> None:
    wish = Pool(ready=5).look(even(load, 5))
    assert wish is not None
    assert wish >= 5
