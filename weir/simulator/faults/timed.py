"""A fault as a user asks for it: `NAME`, or `NAME@START+SECONDS` for the time that it lasts."""

from dataclasses import dataclass
from math import isfinite

from weir.domain.errors import WeirError

__all__ = ["Span", "span_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """In seconds of the trace."""

    begin_s: float
    end_s: float


def span_of(text: str) -> tuple[str, Span | None]:
    """The fault's name, and when it is there if that is said.

    Raises `WeirError` for what is not a time.
    """
    name, at, times = text.partition("@")
    if not at:
        return name, None
    begin, _, length = times.partition("+")
    try:
        begin_s, for_s = float(begin), float(length)
    except ValueError:
        begin_s = for_s = -1.0
    if not (isfinite(begin_s + for_s) and begin_s >= 0.0 and for_s > 0.0):
        raise WeirError(f"{text!r} is not {name}@START+SECONDS, such as {name}@600+300")
    return name, Span(begin_s=begin_s, end_s=begin_s + for_s)
