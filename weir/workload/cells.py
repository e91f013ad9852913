"""The cells of a trace: which columns there are, what a cell must hold, and names as codes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from weir.domain.errors import TraceError

__all__ = [
    "MAX_TIMESTAMP_S",
    "MAX_TOKENS",
    "OPTIONAL",
    "REQUIRED",
    "Header",
    "NameCodes",
    "header_of",
    "reuse_of",
    "timestamp_of",
    "tokens_of",
]

REQUIRED = ("timestamp_s", "isl", "osl")
OPTIONAL = ("class", "tenant", "reuse_tok")
MAX_TIMESTAMP_S = 1e8
MAX_TOKENS = 10_000_000


@dataclass(frozen=True, slots=True)
class Header:
    """`places`: position in a row of each column of ours that the file has."""

    width: int
    places: Mapping[str, int]


class NameCodes(dict[str, int]):
    """Code of each cell of a column of names, in order of appearance; -1 for an empty cell."""

    def __init__(self) -> None:
        super().__init__()
        self._codes: dict[str, int] = {}

    def __missing__(self, cell: str) -> int:
        name = cell.strip()
        code = self._codes.setdefault(name, len(self._codes)) if name else -1
        self[cell] = code
        return code

    def names(self) -> tuple[str, ...]:
        return tuple(self._codes)


def header_of(cells: Sequence[str], source: str, tenant_column: str | None) -> Header:
    """Where the columns are; tenants are taken from `tenant_column` if it is given.

    Raises `TraceError` if one is missing or there twice.
    """
    names = [name.strip().lower() for name in cells]
    if missing := [name for name in REQUIRED if name not in names]:
        _refuse(
            source,
            f"no column {', '.join(missing)}; the first line must name at least "
            f"{', '.join(REQUIRED)} (found: {_shown(names)})",
        )
    tenant = "tenant" if tenant_column is None else tenant_column.strip().lower()
    if tenant_column is not None and tenant not in names:
        _refuse(
            source, f"no column {tenant_column!r} to take tenants from (found: {_shown(names)})"
        )
    wanted = {name: name for name in (*REQUIRED, *OPTIONAL)} | {"tenant": tenant}
    for name in wanted.values():
        if names.count(name) > 1:
            _refuse(source, f"column {name} is there {names.count(name)} times")
    places = {ours: names.index(name) for ours, name in wanted.items() if name in names}
    return Header(width=len(names), places=places)


def timestamp_of(text: str) -> float:
    """Raises `ValueError` saying why the cell is wrong, as all of these do."""
    timestamp_s = _number("timestamp_s", text)
    if timestamp_s >= MAX_TIMESTAMP_S:
        raise ValueError(
            f"timestamp_s must be seconds from the start of the trace, not {timestamp_s:.0f}; "
            "subtract the first timestamp"
        )
    return timestamp_s


def tokens_of(name: str, text: str, *, low: int = 1) -> int:
    value = _number(name, text)
    if value != int(value) or not low <= value <= MAX_TOKENS:
        raise ValueError(
            f"{name} must be a whole number of tokens from {low} to {MAX_TOKENS}, not {text[:40]}"
        )
    return int(value)


def reuse_of(text: str) -> int:
    """-1 for an empty cell."""
    return tokens_of("reuse_tok", text, low=0) if text else -1


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number, not {text[:40]!r}") from None
    if not math.isfinite(value) or value < 0.0:
        raise ValueError(f"{name} must be a finite number >= 0, not {text[:40]}")
    return value


def _shown(names: Sequence[str]) -> str:
    return ", ".join(name or "''" for name in names)[:120]


def _refuse(source: str, problem: str) -> NoReturn:
    raise TraceError(source, 1, problem)
