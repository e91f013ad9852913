"""How explanations are written: a line says one thing, and begins with what it is about."""

from collections.abc import Sequence
from datetime import UTC, datetime

__all__ = ["ago", "line", "lines", "percent", "rps", "some", "when"]

_WIDTH = 11


def line(about: str, text: str) -> str:
    return f"{about:<{_WIDTH}} {text}".rstrip()


def lines(about: str, texts: Sequence[str]) -> list[str]:
    """What it is about is said once."""
    return [line("" if i else about, text) for i, text in enumerate(texts)]


def when(at_unix_s: float, now_unix_s: float) -> str:
    at = datetime.fromtimestamp(at_unix_s, UTC)
    return f"{at:%Y-%m-%d %H:%M:%S} UTC, {ago(now_unix_s - at_unix_s)}"


def ago(age_s: float) -> str:
    """In the largest unit of which there are two."""
    age_s = max(0.0, age_s)
    for unit, seconds in (("days", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if age_s >= 2.0 * seconds:
            return f"{age_s / seconds:.0f} {unit} ago"
    return f"{age_s:.0f} s ago"


def percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def rps(rate: float) -> str:
    return f"{rate:.3g} req/s" if rate < 100.0 else f"{rate:.0f} req/s"


def some(names: Sequence[str], most: int = 8) -> str:
    """The first few of them, and how many more there are."""
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left} more" if left > 0 else "")
