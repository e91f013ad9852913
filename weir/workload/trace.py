"""Request traces: CSV with a header, plain or gzip'ed, one request a row.

Columns in any order: `timestamp_s` (from the start of the trace), `isl`, `osl` (tokens) and,
where known, `class`, `tenant`, `reuse_tok` (prompt tokens that an unlimited shared prefix
cache would skip). Other columns are ignored. Rows are returned in order of time.
"""

import csv
import gzip
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from weir.workload.cells import OPTIONAL, REQUIRED
from weir.workload.columns import read_columns
from weir.workload.request import TraceRequest

__all__ = ["read_trace", "write_trace"]


def read_trace(path: str | Path) -> list[TraceRequest]:
    """All requests of the file, sorted by time (rows of equal time keep their order).

    Raises `TraceError` naming the line that cannot be read and what to mend.
    """
    return read_columns(path).requests()


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
    extra = [name for name in OPTIONAL if any(value is not None for value in values[name])]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*REQUIRED, *extra])
    for index, row in enumerate(rows):
        more = (values[name][index] for name in extra)
        writer.writerow([f"{row.timestamp_s:.3f}", row.isl_tokens, row.osl_tokens, *more])
    data = text.getvalue().encode()
    target = Path(path)
    target.write_bytes(gzip.compress(data, mtime=0) if target.suffix == ".gz" else data)
