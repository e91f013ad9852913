"""What is old news to a router, and when a lower number is none."""

from router.core.news import News
from tests.unit.router.builders import members
from tests.unit.router.test_dispatch import Driver
from weir.domain.ids import PoolId
from weir.domain.planning import RoutingPlan


def test_a_lower_number_is_old_news() -> None:
    news = News()
    assert news.takes("a", 5, 0.0)
    assert not news.takes("a", 4, 1.0)
    assert news.takes("b", 4, 1.0), "subjects are numbered apart"


def test_a_lower_number_counts_once_nobody_repeats_the_higher_one() -> None:
    news = News()
    news.takes("a", 5, 0.0)
    assert news.takes("a", 5, 15.0)
    assert not news.takes("a", 4, 35.0), "5 was heard 20 s ago"
    assert news.takes("a", 4, 35.1)
    assert news.takes("a", 5, 36.0), "who told 5 is there after all"


def test_older_members_are_ignored() -> None:
    driver = Driver()
    driver.ready("w3", version=7)
    driver.ready("w1", version=6, at_s=5.0)
    assert set(driver.dispatch.pools[PoolId("a")].workers) == {"w3"}


def test_members_of_a_planner_that_counts_from_below_are_taken_in_the_end() -> None:
    driver = Driver()
    driver.ready("w1", version=7)
    for at_s in (5.0, 10.0, 15.0, 20.0, 25.0):
        driver.ready("w2", version=3, at_s=at_s)
    assert set(driver.dispatch.pools[PoolId("a")].workers) == {"w2"}


def test_a_plan_of_a_lower_term_is_taken_once_the_later_leader_is_silent() -> None:
    driver = Driver()
    driver.dispatch.apply_members(members("a", "w"), 0.0)
    assert driver.dispatch.apply_plan(RoutingPlan(term=7, version=3), 0.0)
    assert not driver.dispatch.apply_plan(RoutingPlan(term=1, version=9), 19.0)
    assert driver.dispatch.apply_plan(RoutingPlan(term=1, version=9), 24.0)
