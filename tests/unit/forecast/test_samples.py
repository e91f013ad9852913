import numpy as np
import pytest

from weir.forecast.samples import History, Sample, Windows, binned


def _history(*samples: tuple[float, float], capacity: int = 100) -> History:
    history = History(capacity)
    for at_s, value in samples:
        history.add(Sample(at_s, value, 10.0))
    return history


def test_only_the_newest_are_kept_and_stay_in_order() -> None:
    history = _history(*((10.0 * i, float(i)) for i in range(1, 12)), capacity=4)
    assert history.values.tolist() == [8.0, 9.0, 10.0, 11.0]
    assert (history.last_s, history.last) == (110.0, 11.0)


def test_a_gap_is_unknown_on_a_grid_not_zero() -> None:
    grid = _history((10.0, 1.0), (20.0, 2.0), (41.0, 4.0)).grid(10.0, 10)
    assert np.isnan(grid.values).tolist() == [False, False, True, False]
    assert grid.filled().tolist() == [1.0, 2.0, 3.0, 4.0]


def test_the_usual_step_is_not_moved_by_a_gap() -> None:
    assert _history((10.0, 1.0), (20.0, 1.0), (30.0, 1.0), (500.0, 1.0)).step_s() == 10.0


def test_the_mean_since_is_of_what_ended_later() -> None:
    history = _history((10.0, 1.0), (20.0, 2.0), (30.0, 6.0))
    assert history.mean_since(10.0) == 4.0
    assert history.mean_since(500.0) == 6.0


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="backwards"):
        _history((10.0, 1.0), (10.0, 2.0))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_unknown_is_no_sample(value: float) -> None:
    with pytest.raises(ValueError, match="leave out"):
        Sample(1.0, value, 1.0)


def test_fine_samples_become_whole_windows() -> None:
    windows = Windows(30.0)
    made = [windows.add(Sample(10.0 * i, float(i), 10.0)) for i in range(1, 7)]
    assert made == [None, None, Sample(30.0, 2.0, 30.0), None, None, Sample(60.0, 5.0, 30.0)]


def test_a_window_of_which_little_was_seen_is_dropped() -> None:
    windows = Windows(30.0)
    assert windows.add(Sample(10.0, 1.0, 10.0)) is None
    assert windows.add(Sample(100.0, 9.0, 10.0)) is None
    assert windows.add(Sample(130.0, 3.0, 30.0)) == Sample(130.0, 3.0, 30.0)


def test_events_are_counted_and_weighed_by_window() -> None:
    times, tokens = np.array([0.5, 1.0, 2.5, 9.0]), np.array([10.0, 30.0, 8.0, 99.0])
    counted = list(binned(times, None, window_s=2.0, from_s=0.0, to_s=5.0))
    assert counted == [Sample(2.0, 1.0, 2.0), Sample(4.0, 0.5, 2.0)]
    weighed = binned(times, tokens, window_s=2.0, from_s=0.0, to_s=5.0)
    assert [sample.value for sample in weighed] == [20.0, 4.0]
