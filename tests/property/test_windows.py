"""Away from changes of clocks a window holds what a calendar says it holds."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from globalplanner.core.operators.windows import holds
from weir.fleet.document import DAYS, WindowSpec
from weir.fleet.schedule import window_of

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland")
clocks = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.sets(st.sampled_from(DAYS), min_size=1),
    clocks,
    clocks,
    st.integers(1_600_000_000, 3_000_000_000),
)
def test_a_window_holds_what_the_calendar_says(
    zone: str, days: set[str], start: str, end: str, unix_s: int
) -> None:
    local = datetime.fromtimestamp(unix_s, ZoneInfo(zone))
    shifts = {(local + timedelta(days=day)).utcoffset() for day in (-2, -1, 0, 1, 2)}
    if len(shifts) > 1:
        return  # what happens then is told by named cases
    window = window_of(
        WindowSpec.model_validate(
            {"days": tuple(days), "from": start, "to": end, "timezone": zone, "gpus": 1}
        )
    )
    clock = f"{local:%H:%M}"
    today, yesterday = (DAYS[(local.weekday() - ago) % 7] in days for ago in (0, 1))
    if start < end:
        expected = today and start <= clock < end
    else:
        expected = (today and clock >= start) or (yesterday and clock < end)
    assert holds(window, float(unix_s)) is expected
