"""Whatever is seen of a pool that is sized by thresholds, its wish keeps to what it must."""

from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from poolplanner.core.targets import Wishes
from poolplanner.core.targets_fullness import Fullness
from weir.domain.targets import Target, Thresholds

DWELL_S = 30.0

bounds = st.tuples(st.floats(0.0, 2.0), st.floats(0.05, 3.0))
thresholds = st.builds(
    lambda down_and_band, up_included, down_included: Thresholds(
        target=Target.LOAD,
        up=sum(down_and_band),
        down=down_and_band[0],
        up_included=up_included,
        down_included=down_included,
    ),
    bounds,
    st.booleans(),
    st.booleans(),
)
counts = st.integers(1, 40)


@st.composite
def seen(draw: st.DrawFn) -> Fullness | None:
    if draw(st.booleans()) and draw(st.booleans()):
        return None
    hot = draw(st.floats(0.0, 5.0))
    fullest = hot + draw(st.floats(0.0, 1.0))
    least = draw(st.floats(hot, 40.0 * hot + 1e-9)) if hot else 0.0
    return Fullness(
        hot=hot,
        fullest=fullest,
        least=least,
        most=least + draw(st.floats(0.0, 20.0)),
        busy=draw(st.none() | st.floats(0.0, 40.0)),
        idle=draw(st.booleans()),
    )


looks = st.lists(
    st.tuples(seen(), counts, st.integers(0, 10), st.floats(0.1, 20.0)), min_size=1, max_size=40
)


@given(thresholds, st.booleans(), looks)
def test_wishes_are_bounded_by_what_there_was_and_what_is_ready(
    limits: Thresholds, prefills: bool, looks: list[tuple[Fullness | None, int, int, float]]
) -> None:
    wishes, now_s = Wishes(thresholds=limits, dwell_s=DWELL_S, prefills=prefills), 0.0
    had: list[tuple[float, int, bool]] = []
    for fullness, ready, starting, after_s in looks:
        now_s += after_s
        has = ready + starting
        above = fullness is not None and limits.above(fullness.hot)
        had.append((now_s, max(has, 2 * ready) if above else has, above))
        wish = wishes.look(fullness, now_s, ready=ready, has=has)
        assert (wish is None) == (fullness is None)
        if wish is None:
            continue
        # What counts is the dwell time, and the last look before it.
        inside = [most for at_s, most, _ in had if at_s > now_s - DWELL_S]
        assert 0 <= wish <= max(inside)
        assert fullness is not None
        if above or not limits.below(fullness.fullest):
            assert wish >= has


@given(thresholds, st.booleans(), looks)
def test_less_is_asked_for_only_if_all_was_known_and_below_throughout_the_dwell_time(
    limits: Thresholds, prefills: bool, looks: list[tuple[Fullness | None, int, int, float]]
) -> None:
    wishes, now_s = Wishes(thresholds=limits, dwell_s=DWELL_S, prefills=prefills), 0.0
    least_had: list[tuple[float, int]] = []
    for fullness, ready, starting, after_s in looks:
        now_s += after_s
        has = ready + starting
        below = fullness is not None and limits.below(fullness.fullest)
        kept = has if not below else has - max(1, has // 4)
        least_had.append((now_s, kept))
        wish = wishes.look(fullness, now_s, ready=ready, has=has)
        if wish is not None:
            assert wish >= max(kept for at_s, kept in least_had if at_s > now_s - DWELL_S)


@given(thresholds, st.floats(0.0, 60.0), counts)
def test_under_a_load_that_spreads_evenly_the_pool_comes_to_rest_below_the_upper_threshold(
    limits: Thresholds, total: float, begin: int
) -> None:
    wishes, ready = Wishes(thresholds=limits, dwell_s=DWELL_S, prefills=False), begin
    sizes = []
    for step in range(400):
        load = total / ready
        fullness = Fullness(hot=load, fullest=load, least=total, most=total)
        wish = wishes.look(fullness, 5.0 * step, ready=ready, has=ready)
        assert wish is not None
        ready = max(1, wish)
        sizes.append(ready)
    assert len(set(sizes[-50:])) == 1
    assert not limits.above(total / ready)
    assert ready <= max(begin, ceil(2.0 * total / (limits.up + limits.down)), 1)
    # It goes up and then no more down, or down and then no more up.
    assert sizes == sorted(sizes) or sizes == sorted(sizes, reverse=True)
