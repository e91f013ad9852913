import pytest

from weir.runtime.clock import Clock


def test_model_time_runs_faster_by_speed_from_the_shared_origin() -> None:
    one, other = Clock(speed=4.0, origin_s=100.0), Clock(speed=4.0, origin_s=100.0)
    before, after = one.now_s(), other.now_s()
    assert 0.0 <= after - before < 1.0
    assert Clock(speed=1.0, origin_s=Clock.wall_s()).now_s() < 1.0


def test_wall_span_divides_by_speed() -> None:
    assert Clock(speed=4.0).wall_span_s(20.0) == 5.0


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_a_speed_that_is_not_positive_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        Clock(speed=speed)
