"""What every field of a message must be before it is believed."""

import math

__all__ = ["finite", "text"]


def finite(name: str, value: float, *, low: float = 0.0) -> float:
    if not math.isfinite(value) or value < low:
        raise ValueError(f"{name} must be a finite number >= {low:g}, not {value}")
    return value


def text(name: str, value: str) -> str:
    if not value:
        raise ValueError(f"{name} must not be empty")
    return value
