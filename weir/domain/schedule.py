"""When another budget counts: windows of the week in some time zone, as plain numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["DAY_S", "BudgetWindow", "TimeZone"]

DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeZone:
    """From `since_unix_s[i]` on, clocks show Unix time plus `offsets_s[i]`; the first is -inf."""

    name: str
    since_unix_s: tuple[float, ...] = (float("-inf"),)
    offsets_s: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        if not self.since_unix_s or len(self.since_unix_s) != len(self.offsets_s):
            raise ValueError("each offset needs the time since when it counts, and there is one")
        if list(self.since_unix_s) != sorted(set(self.since_unix_s)):
            raise ValueError("the times since when offsets count must ascend")


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetWindow:
    """From `from_s` on each of `days` to the next `to_s`: seconds after midnight in `zone`.

    Monday is day 0. `to_s` at or before `from_s` is on the day after. `gpus`, `power_w` None: as
    without the window; `by_gpu_class` replaces the limits of the classes that it names. `name` is
    for people.
    """

    name: str
    days: frozenset[int]
    from_s: int
    to_s: int
    zone: TimeZone
    gpus: int | None = None
    power_w: int | None = None
    by_gpu_class: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.days or not self.days <= set(range(7)):
            raise ValueError(f"days must be some of 0 to 6, not {sorted(self.days)}")
        if not (0 <= self.from_s < DAY_S and 0 <= self.to_s <= DAY_S):
            raise ValueError(f"a day has no {self.from_s} s to {self.to_s} s")

    @property
    def length_s(self) -> int:
        """Seconds that it lasts, unless the clocks are changed in it; at most a day."""
        length_s = self.to_s - self.from_s
        return length_s if length_s > 0 else length_s + DAY_S
