"""The linear program solver, against hand-made programs and all corners of small ones."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir.sizing.linear import Floats, maximise


def solve(worth: list[float], rows: list[list[float]], limits: list[float]) -> float:
    return maximise(np.array(worth), np.array(rows), np.array(limits)).value


def test_textbook_example() -> None:
    # 3x + 5y with x <= 4, 2y <= 12, 3x + 2y <= 18: x = 2, y = 6 (Dantzig's Wyndor example).
    solution = maximise(
        np.array([3.0, 5.0]), np.array([[1.0, 0], [0, 2], [3, 2]]), np.array([4.0, 12, 18])
    )
    assert solution.value == pytest.approx(36.0)
    assert solution.x == pytest.approx([2.0, 6.0])
    assert solution.prices == pytest.approx([0.0, 1.5, 1.0])


def test_a_cycle_of_degenerate_steps_is_left() -> None:
    # Beale's example, on which the plain rule cycles for ever.
    rows = [[0.25, -60.0, -1 / 25, 9.0], [0.5, -90.0, -1 / 50, 3.0], [0.0, 0.0, 1.0, 0.0]]
    assert solve([0.75, -150.0, 0.02, -6.0], rows, [0.0, 0.0, 1.0]) == pytest.approx(0.05)


def test_nothing_can_be_gained_at_the_origin() -> None:
    assert solve([1.0], [[1.0]], [0.0]) == 0.0
    assert solve([-1.0], [[1.0]], [5.0]) == 0.0


def test_bad_programs_are_refused() -> None:
    with pytest.raises(ValueError, match=">= 0"):
        solve([1.0], [[1.0]], [-1.0])
    with pytest.raises(ValueError, match="no bound"):
        solve([1.0, 1.0], [[1.0, -1.0]], [1.0])


numbers = st.integers(-3, 5).map(float)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_corner_is_worth_more(data: st.DataObject) -> None:
    columns, count = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    draw = st.lists(numbers, min_size=columns, max_size=columns)
    rows = np.array([data.draw(draw) for _ in range(count)] + [[1.0] * columns])
    limits = np.array([float(data.draw(st.integers(0, 6))) for _ in range(count)] + [7.0])
    worth = np.array(data.draw(draw))
    solution = maximise(worth, rows, limits)
    assert (rows @ solution.x <= limits + 1e-7).all()
    assert (solution.x >= 0.0).all()
    assert solution.value == pytest.approx(float(worth @ solution.x), abs=1e-7)
    assert solution.value == pytest.approx(best_corner(worth, rows, limits), abs=1e-6)


def best_corner(worth: Floats, rows: Floats, limits: Floats) -> float:
    columns = len(worth)
    walls = np.vstack([rows, -np.eye(columns)])
    bounds = np.concatenate([limits, np.zeros(columns)])
    best = -np.inf
    for chosen in combinations(range(len(walls)), columns):
        matrix = walls[list(chosen)]
        if abs(np.linalg.det(matrix)) < 1e-9:
            continue
        corner = np.linalg.solve(matrix, bounds[list(chosen)])
        if (walls @ corner <= bounds + 1e-7).all():
            best = max(best, float(worth @ corner))
    return best


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_an_optimum_found_from_a_near_one_is_worth_as_much(data: st.DataObject) -> None:
    columns, count = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    draw = st.lists(numbers, min_size=columns, max_size=columns)
    rows = np.array([data.draw(draw) for _ in range(count)] + [[1.0] * columns])
    worth = np.array(data.draw(draw))
    limit_lists = st.lists(st.integers(0, 6).map(float), min_size=count + 1, max_size=count + 1)
    optimum = maximise(worth, rows, np.array(data.draw(limit_lists)))
    for _ in range(3):
        limits = np.array(data.draw(limit_lists))
        near = optimum.with_limits(limits)
        if near is not None:
            assert (rows @ near.x <= limits + 1e-7).all()
            assert near.value == pytest.approx(maximise(worth, rows, limits).value, abs=1e-6)
            optimum = near
