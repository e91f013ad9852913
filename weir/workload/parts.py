"""Some rows of a trace as arrays, from columns of cells or from rows of values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weir.workload.cells import MAX_TIMESTAMP_S, MAX_TOKENS, NameCodes

__all__ = ["Names", "Part", "part_of_cells", "part_of_rows"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Names:
    """The names that a file has used so far."""

    classes: NameCodes = field(default_factory=NameCodes)
    tenants: NameCodes = field(default_factory=NameCodes)


@dataclass(frozen=True, slots=True)
class Part:
    """Codes are those of the file's names; -1 is unknown."""

    timestamp_s: Floats
    isl_tokens: NDArray[np.int64]
    osl_tokens: NDArray[np.int64]
    class_codes: NDArray[np.int32]
    tenant_codes: NDArray[np.int32]
    reuse_tokens: NDArray[np.int64]


def part_of_cells(columns: Mapping[str, Sequence[str]], names: Names) -> Part:
    """From each column's cells. Raises `ValueError` if one is wrong, without saying which."""
    timestamp_s = _timestamps(columns["timestamp_s"])
    isl_tokens, osl_tokens = _tokens(columns["isl"], low=1), _tokens(columns["osl"], low=1)
    rows = len(timestamp_s)
    reuse = _reuse(columns["reuse_tok"]) if "reuse_tok" in columns else np.full(rows, -1.0)
    return Part(
        timestamp_s=timestamp_s,
        isl_tokens=isl_tokens.astype(np.int64),
        osl_tokens=osl_tokens.astype(np.int64),
        class_codes=_codes(names.classes, columns.get("class"), rows),
        tenant_codes=_codes(names.tenants, columns.get("tenant"), rows),
        reuse_tokens=reuse.astype(np.int64),
    )


def part_of_rows(rows: Sequence[tuple[Any, ...]], names: Names) -> Part:
    """From rows of time, prompt, output, class, tenant and reuse, which are right."""
    columns = list(zip(*rows, strict=True)) or [()] * 6
    return Part(
        timestamp_s=np.asarray(columns[0], np.float64),
        isl_tokens=np.asarray(columns[1], np.int64),
        osl_tokens=np.asarray(columns[2], np.int64),
        class_codes=_codes(names.classes, columns[3], len(rows)),
        tenant_codes=_codes(names.tenants, columns[4], len(rows)),
        reuse_tokens=np.asarray(columns[5], np.int64),
    )


def _numbers(cells: Sequence[str]) -> Floats:
    return np.fromiter(map(float, cells), np.float64, len(cells))


def _timestamps(cells: Sequence[str]) -> Floats:
    values = _numbers(cells)
    if not ((values >= 0.0) & (values < MAX_TIMESTAMP_S)).all():
        raise ValueError("a timestamp is out of range")
    return values


def _tokens(cells: Sequence[str], *, low: int) -> Floats:
    values = _numbers(cells)
    if not ((values >= low) & (values <= MAX_TOKENS) & (values == np.floor(values))).all():
        raise ValueError("a number of tokens is out of range")
    return values


def _reuse(cells: Sequence[str]) -> Floats:
    values = _tokens([cell or "0" for cell in cells], low=0)
    values[np.fromiter(map(len, cells), np.int64, len(cells)) == 0] = -1.0
    return values


def _codes(codes: NameCodes, cells: Sequence[str] | None, rows: int) -> NDArray[np.int32]:
    if cells is None:
        return np.full(rows, -1, np.int32)
    return np.fromiter(map(codes.__getitem__, cells), np.int32, rows)
