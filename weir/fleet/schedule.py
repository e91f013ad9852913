"""Budget windows of the document -> plain numbers, so that no core needs a calendar."""

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from weir.domain.schedule import BudgetWindow, TimeZone
from weir.fleet.document import DAYS, WindowSpec

__all__ = ["window_of", "zone_of"]

_FIRST = datetime(2000, 1, 1, tzinfo=UTC)
_LAST = datetime(2100, 1, 1, tzinfo=UTC)
_STEP = timedelta(days=7)
"""Clocks that are changed are not changed back sooner."""


def window_of(item: WindowSpec) -> BudgetWindow:
    """Raises `ValueError` if there is no such time zone."""
    days = "" if item.days == DAYS else f"{','.join(item.days)} "
    return BudgetWindow(
        name=f"{days}{item.from_}-{item.to} {item.timezone}",
        days=frozenset(DAYS.index(day) for day in item.days),
        from_s=_seconds(item.from_),
        to_s=_seconds(item.to),
        zone=zone_of(item.timezone),
        gpus=item.gpus,
        power_w=item.power_w,
        by_gpu_class=dict(item.gpu_classes),
    )


@cache
def zone_of(name: str) -> TimeZone:
    """When clocks are changed there, from 2000 to 2100. Raises `ValueError`."""
    zone = _zone_info(name)
    since_unix_s, offsets_s = [float("-inf")], [_offset_s(_FIRST, zone)]
    at = _FIRST
    while at < _LAST:
        after = at + _STEP
        if _offset_s(after, zone) != offsets_s[-1]:
            changed = _first_change(at, after, zone)
            since_unix_s.append(changed.timestamp())
            offsets_s.append(_offset_s(changed, zone))
        at = after
    return TimeZone(name=name, since_unix_s=tuple(since_unix_s), offsets_s=tuple(offsets_s))


def _zone_info(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    try:
        ZoneInfo("UTC")
    except (ZoneInfoNotFoundError, OSError):
        raise ValueError("this machine has no time zones: install its tzdata package") from None
    raise ValueError(f"there is no time zone {name!r}; give an IANA name such as Europe/Berlin")


def _first_change(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """The second in which the clocks are changed; they differ at `high` from `low`."""
    before_s = _offset_s(low, zone)
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        middle = middle.replace(microsecond=0)
        low, high = (middle, high) if _offset_s(middle, zone) == before_s else (low, middle)
    return high


def _offset_s(at: datetime, zone: ZoneInfo) -> float:
    offset = at.astimezone(zone).utcoffset()
    return offset.total_seconds() if offset is not None else 0.0


def _seconds(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60
