"""Request traces: CSV with a header, plain or gzip'ed, one request a row.

Columns in any order: `timestamp_s` (from the start of the trace), `isl`, `osl` (tokens) and,
where known, `class`, `tenant`, `reuse_tok` (prompt tokens that an unlimited shared prefix
cache would skip). Other columns are ignored. Rows are returned in order of time.
"""

import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TextIO, cast

from weir.domain.errors import TraceError
from weir.domain.ids import ClassName

__all__ = ["TraceRequest", "read_trace", "write_trace"]

_GZIP_MAGIC = b"\x1f\x8b"
_REQUIRED = ("timestamp_s", "isl", "osl")
_OPTIONAL = ("class", "tenant", "reuse_tok")
_MAX_TIMESTAMP_S = 1e8
_MAX_TOKENS = 10_000_000
_MAX_LINE = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRequest:
    """One request of a trace; what the trace does not say is None."""

    timestamp_s: float
    isl_tokens: int
    osl_tokens: int
    class_name: ClassName | None = None
    tenant: str | None = None
    reuse_tokens: int | None = None


def read_trace(path: str | Path) -> list[TraceRequest]:
    """All requests of the file, sorted by time (rows of equal time keep their order).

    Raises `TraceError` naming the line that cannot be read and what to mend.
    """
    source = str(path)
    line = 1
    try:
        with Path(path).open("rb") as file, _text(file) as text:
            reader = csv.reader(_lines(text, source), strict=True)
            try:
                requests = list(_requests(reader, source))
            finally:
                line = reader.line_num + 1
    except UnicodeDecodeError:
        _refuse(source, line, "not UTF-8 text (is this a CSV file?)")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        _refuse(source, line, f"the gzip data is damaged or cut off: {error}")
    except csv.Error as error:
        _refuse(source, max(1, line - 1), f"not CSV: {error}")
    except OSError as error:
        _refuse(source, line, f"cannot be read: {error.strerror or error}")
    except ValueError as error:  # a NUL in the file's name
        _refuse(source, line, f"cannot be read: {error}")
    return sorted(requests, key=lambda request: request.timestamp_s)


def write_trace(path: str | Path, requests: Iterable[TraceRequest]) -> None:
    """Write a trace; gzip'ed if the name ends in `.gz`. Equal requests give equal bytes.

    Optional columns are written if any request has them. Raises `OSError`.
    """
    rows = list(requests)
    values: dict[str, list[Any]] = {
        "class": [row.class_name for row in rows],
        "tenant": [row.tenant for row in rows],
        "reuse_tok": [row.reuse_tokens for row in rows],
    }
    extra = [name for name in _OPTIONAL if any(value is not None for value in values[name])]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_REQUIRED, *extra])
    for index, row in enumerate(rows):
        more = (values[name][index] for name in extra)
        writer.writerow([f"{row.timestamp_s:.3f}", row.isl_tokens, row.osl_tokens, *more])
    data = text.getvalue().encode()
    target = Path(path)
    target.write_bytes(gzip.compress(data, mtime=0) if target.suffix == ".gz" else data)


def _text(file: BufferedReader) -> TextIO:
    """The file's text, unpacked if it is gzip'ed; works on pipes too."""
    packed = file.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
    data = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file
    return io.TextIOWrapper(data, encoding="utf-8-sig", newline="")


def _lines(text: TextIO, source: str) -> Iterator[str]:
    number = 0
    while line := text.readline(_MAX_LINE):
        number += 1
        if "\0" in line:
            _refuse(source, number, "holds a NUL byte (is this a CSV file?)")
        if len(line) == _MAX_LINE:
            _refuse(source, number, f"longer than {_MAX_LINE} characters (is this a CSV file?)")
        yield line


def _requests(reader: Any, source: str) -> Iterator[TraceRequest]:
    header = next(reader, None)
    if header is None:
        _refuse(source, 1, "the file is empty; it needs a header and rows")
    columns = _columns(header, source)
    seen = False
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        seen = True
        try:
            if len(row) != len(header):
                raise ValueError(f"has {len(row)} values, the header names {len(header)}")
            yield _request({name: row[index].strip() for name, index in columns.items()})
        except ValueError as error:
            _refuse(source, reader.line_num, str(error))
    if not seen:
        _refuse(source, reader.line_num + 1, "no rows after the header")


def _columns(header: Sequence[str], source: str) -> dict[str, int]:
    names = [name.strip().lower() for name in header]
    if missing := [name for name in _REQUIRED if name not in names]:
        shown = ", ".join(name or "''" for name in names)[:120]
        _refuse(
            source,
            1,
            f"no column {', '.join(missing)}; the first line must name at least "
            f"{', '.join(_REQUIRED)} (found: {shown})",
        )
    for name in (*_REQUIRED, *_OPTIONAL):
        if names.count(name) > 1:
            _refuse(source, 1, f"column {name} is there {names.count(name)} times")
    return {name: names.index(name) for name in (*_REQUIRED, *_OPTIONAL) if name in names}


def _request(cells: Mapping[str, str]) -> TraceRequest:
    """Raises `ValueError` saying which cell is wrong and why."""
    timestamp_s = _number("timestamp_s", cells["timestamp_s"])
    if timestamp_s >= _MAX_TIMESTAMP_S:
        raise ValueError(
            f"timestamp_s must be seconds from the start of the trace, not {timestamp_s:.0f}; "
            "subtract the first timestamp"
        )
    reuse = cells.get("reuse_tok")
    return TraceRequest(
        timestamp_s=timestamp_s,
        isl_tokens=_tokens("isl", cells["isl"], low=1),
        osl_tokens=_tokens("osl", cells["osl"], low=1),
        class_name=ClassName(cells["class"]) if cells.get("class") else None,
        tenant=cells.get("tenant") or None,
        reuse_tokens=_tokens("reuse_tok", reuse, low=0) if reuse else None,
    )


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number, not {text[:40]!r}") from None
    if not math.isfinite(value) or value < 0.0:
        raise ValueError(f"{name} must be a finite number >= 0, not {text[:40]}")
    return value


def _tokens(name: str, text: str, *, low: int) -> int:
    value = _number(name, text)
    if value != int(value) or not low <= value <= _MAX_TOKENS:
        raise ValueError(
            f"{name} must be a whole number of tokens from {low} to {_MAX_TOKENS}, not {text[:40]}"
        )
    return int(value)


def _refuse(source: str, line: int, problem: str) -> NoReturn:
    raise TraceError(source, line, problem)
