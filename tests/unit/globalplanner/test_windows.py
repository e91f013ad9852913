"""When a budget window counts, by hand and through the nights in which clocks are changed."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from globalplanner.core.operators.windows import holds, window_at
from weir.domain.schedule import BudgetWindow
from weir.fleet.document import WindowSpec
from weir.fleet.schedule import window_of

BERLIN = "Europe/Berlin"


def window(start: str, end: str, days: str = "", zone: str = BERLIN, **fields: int) -> BudgetWindow:
    data = {"from": start, "to": end, "timezone": zone, **fields}
    if days:
        data["days"] = tuple(days.split())
    return window_of(WindowSpec.model_validate(data))


def at(text: str, zone: str = BERLIN, *, fold: int = 0) -> float:
    """Unix time of "2026-11-20 22:00" there; `fold` 1: the second time that clocks show it."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


@pytest.mark.parametrize(
    ("moment", "held"),
    [
        ("2026-11-20 08:59:59", False),
        ("2026-11-20 09:00", True),  # a Friday
        ("2026-11-20 16:59:59", True),
        ("2026-11-20 17:00", False),
        ("2026-11-21 12:00", False),  # Saturday
    ],
)
def test_a_window_counts_from_its_start_until_before_its_end(moment: str, held: bool) -> None:
    assert holds(window("09:00", "17:00", "mon tue wed thu fri"), at(moment)) is held


@pytest.mark.parametrize(
    ("moment", "held"),
    [
        ("2026-11-20 21:59", False),
        ("2026-11-20 22:00", True),
        ("2026-11-21 05:59", True),  # the night that began on Friday
        ("2026-11-21 06:00", False),
        ("2026-11-21 23:00", False),  # Saturday's night is not meant
        ("2026-11-20 01:00", False),  # nor Thursday's
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins(
    moment: str, held: bool
) -> None:
    assert holds(window("22:00", "06:00", "fri"), at(moment)) is held


def test_a_window_that_ends_when_it_begins_lasts_a_day() -> None:
    friday = window("06:00", "06:00", "fri")
    assert not holds(friday, at("2026-11-20 05:59"))
    assert holds(friday, at("2026-11-20 06:00"))
    assert holds(friday, at("2026-11-21 05:59"))
    assert not holds(friday, at("2026-11-21 06:00"))


def test_the_first_of_several_windows_counts() -> None:
    windows = [window("12:00", "13:00", gpus=4), window("08:00", "18:00", gpus=6)]
    found = [window_at(windows, at(f"2026-11-20 {hour}:30")) for hour in ("07", "11", "12", "13")]
    assert [each and each.gpus for each in found] == [None, 6, 4, 6]


def test_when_clocks_are_set_forward_a_window_begins_after_the_hour_that_is_left_out() -> None:
    # 28 March 2027, 02:00 becomes 03:00
    early = window("02:30", "04:00")
    assert not holds(early, at("2027-03-28 01:59:59"))
    assert holds(early, at("2027-03-28 03:00"))
    assert not holds(early, at("2027-03-28 04:00"))
    gone = window("02:15", "02:45")
    night = range(int(at("2027-03-28 00:00")), int(at("2027-03-28 06:00")), 300)
    assert not any(holds(gone, moment) for moment in night)


def test_when_clocks_are_set_back_a_window_lasts_without_a_break() -> None:
    # 31 October 2027, 03:00 becomes 02:00
    night = window("01:30", "02:30")
    moments = range(int(at("2027-10-31 00:00")), int(at("2027-10-31 06:00")), 300)
    held = [moment for moment in moments if holds(night, moment)]
    assert (held[0], held[-1] + 300) == (at("2027-10-31 01:30"), at("2027-10-31 02:30"))
    assert held == list(range(held[0], held[-1] + 1, 300))


def test_a_window_that_holds_the_change_of_clocks_is_an_hour_longer_or_shorter() -> None:
    night = window("22:00", "06:00")
    for evening, hours in (("2027-10-30", 9), ("2027-03-27", 7), ("2027-06-01", 8)):
        start = at(f"{evening} 22:00")
        assert not holds(night, start - 1)
        assert holds(night, start) and holds(night, start + hours * 3600 - 1)
        assert not holds(night, start + hours * 3600)


def test_each_window_goes_by_its_own_clocks() -> None:
    noon = at("2026-11-20 12:00", "Asia/Kolkata")
    assert holds(window("12:00", "12:30", zone="Asia/Kolkata"), noon)
    assert holds(window("06:30", "07:00", zone="UTC"), noon)
    assert not holds(window("12:00", "12:30", zone="UTC"), noon)
