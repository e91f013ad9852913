import pytest

from weir.forecast.outlook import LEVELS, Outlook, pinball


def test_a_normal_has_its_quantiles_also_beyond_the_levels() -> None:
    outlook = Outlook.normal(10.0, 2.0)
    assert outlook.mean == pytest.approx(10.0)
    assert outlook.quantile(0.975) == pytest.approx(13.92, abs=0.01)
    assert outlook.quantile(0.999) == pytest.approx(16.18, abs=0.01)


def test_where_a_value_lies_is_the_inverse_of_what_lies_there() -> None:
    outlook = Outlook.of([1.0, 2.0, 4.0, 8.0, 9.0, 12.0, 20.0, 30.0, 60.0])
    for value in (0.5, 1.5, 8.0, 25.0, 80.0):
        assert outlook.at(outlook.score(value)) == pytest.approx(value)


def test_without_spread_only_the_value_itself_is_possible() -> None:
    sure = Outlook.normal(5.0, 0.0)
    assert sure.score(5.0) == 0.0
    assert sure.score(5.1) == 30.0
    assert sure.score(4.9) == -30.0


def test_a_floor_lifts_the_median_and_what_is_above_it() -> None:
    raised = Outlook.normal(10.0, 2.0).raised(11.0)
    assert raised.median == 11.0
    assert raised.quantile(0.05) == pytest.approx(6.71, abs=0.01)
    assert raised.quantile(0.95) == pytest.approx(13.29, abs=0.01)


def test_moved_scores_widen_and_shift() -> None:
    outlook = Outlook.normal(0.0, 1.0)
    wide = outlook.moved([2.0 * outlook.score(outlook.quantile(level)) for level in LEVELS])
    assert wide.quantile(0.95) == pytest.approx(2 * 1.645, abs=0.01)


def test_pinball_charges_being_below_at_a_high_quantile_most() -> None:
    sure = Outlook.normal(10.0, 0.0)
    assert pinball(sure, (0.9,), 12.0) == pytest.approx(1.8)
    assert pinball(sure, (0.9,), 8.0) == pytest.approx(0.2)
    assert pinball(sure, (0.5, 0.9), 12.0) == pytest.approx(1.4)
