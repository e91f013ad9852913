"""A whole trace as numpy columns: what the simulator reads, scales and cuts."""

import csv
import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weir.domain.errors import TraceError
from weir.domain.ids import ClassName
from weir.workload.blocks import blocks_of
from weir.workload.parsing import Parser
from weir.workload.parts import Part
from weir.workload.request import TraceRequest

__all__ = ["TraceColumns", "read_columns"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TraceColumns:
    """One entry per request, in order of time; names are indices, -1 where there is none."""

    timestamp_s: NDArray[np.float64]
    isl_tokens: NDArray[np.int64]
    osl_tokens: NDArray[np.int64]
    class_codes: NDArray[np.int32]
    """Index into `class_names`."""
    class_names: tuple[str, ...]
    tenant_codes: NDArray[np.int32]
    """Index into `tenant_names`."""
    tenant_names: tuple[str, ...]
    reuse_tokens: NDArray[np.int64] | None = None
    """-1 where unknown; None if the trace has no such column."""

    @classmethod
    def plain(
        cls,
        timestamp_s: NDArray[np.float64],
        isl_tokens: NDArray[np.int64],
        osl_tokens: NDArray[np.int64],
    ) -> "TraceColumns":
        """Requests without names, in order of time."""
        nobody = np.full(len(timestamp_s), -1, np.int32)
        return cls(
            timestamp_s=timestamp_s,
            isl_tokens=isl_tokens,
            osl_tokens=osl_tokens,
            class_codes=nobody,
            class_names=(),
            tenant_codes=nobody,
            tenant_names=(),
        )

    def __len__(self) -> int:
        return len(self.timestamp_s)

    def between(self, start_s: float, end_s: float) -> "TraceColumns":
        """The requests with `start_s` <= time < `end_s`, at their times."""
        first, last = np.searchsorted(self.timestamp_s, (start_s, end_s))
        return self.take(slice(int(first), max(int(first), int(last))))

    def take(self, which: NDArray[Any] | slice) -> "TraceColumns":
        """The requests at these indices (in order of time), in this slice or under this mask."""
        return TraceColumns(
            timestamp_s=self.timestamp_s[which],
            isl_tokens=self.isl_tokens[which],
            osl_tokens=self.osl_tokens[which],
            class_codes=self.class_codes[which],
            class_names=self.class_names,
            tenant_codes=self.tenant_codes[which],
            tenant_names=self.tenant_names,
            reuse_tokens=None if self.reuse_tokens is None else self.reuse_tokens[which],
        )

    def at(self, timestamp_s: NDArray[np.float64]) -> "TraceColumns":
        """The same requests at other times, which must be in order."""
        return replace(self, timestamp_s=timestamp_s)

    def requests(self) -> list[TraceRequest]:
        """One object per request."""
        classes: list[ClassName | None] = [*map(ClassName, self.class_names), None]
        tenants: list[str | None] = [*self.tenant_names, None]
        reuse = [-1] * len(self) if self.reuse_tokens is None else self.reuse_tokens.tolist()
        return [
            TraceRequest(
                timestamp_s=timestamp_s,
                isl_tokens=isl_tokens,
                osl_tokens=osl_tokens,
                class_name=classes[class_code],
                tenant=tenants[tenant_code],
                reuse_tokens=None if reuse_tokens < 0 else reuse_tokens,
            )
            for timestamp_s, isl_tokens, osl_tokens, class_code, tenant_code, reuse_tokens in zip(
                self.timestamp_s.tolist(),
                self.isl_tokens.tolist(),
                self.osl_tokens.tolist(),
                self.class_codes.tolist(),
                self.tenant_codes.tolist(),
                reuse,
                strict=True,
            )
        ]


def read_columns(path: str | Path, tenant_column: str | None = None) -> TraceColumns:
    """All requests of the file; rows of equal time keep their order.

    Tenants come from `tenant_column`, such as `class`, if it is given. Raises `TraceError`
    naming the line that cannot be read and what to mend.
    """
    source = str(path)
    parser = Parser(source, tenant_column)
    try:
        with Path(path).open("rb") as file:
            parts = list(parser.parts(blocks_of(file)))
    except UnicodeDecodeError:
        problem, line = "not UTF-8 text (is this a CSV file?)", parser.line + 1
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        problem, line = f"the gzip data is damaged or cut off: {error}", parser.line + 1
    except csv.Error as error:
        problem, line = f"not CSV: {error}", max(1, parser.line)
    except OSError as error:
        problem, line = f"cannot be read: {error.strerror or error}", parser.line + 1
    except ValueError as error:  # a NUL in the file's name
        problem, line = f"cannot be read: {error}", parser.line + 1
    else:
        return _in_order(_joined(parts, parser))
    raise TraceError(source, line, problem)


def _joined(parts: Sequence[Part], parser: Parser) -> TraceColumns:
    has_reuse = parser.header is not None and "reuse_tok" in parser.header.places
    return TraceColumns(
        timestamp_s=np.concatenate([part.timestamp_s for part in parts]),
        isl_tokens=np.concatenate([part.isl_tokens for part in parts]),
        osl_tokens=np.concatenate([part.osl_tokens for part in parts]),
        class_codes=np.concatenate([part.class_codes for part in parts]),
        class_names=parser.names.classes.names(),
        tenant_codes=np.concatenate([part.tenant_codes for part in parts]),
        tenant_names=parser.names.tenants.names(),
        reuse_tokens=np.concatenate([part.reuse_tokens for part in parts]) if has_reuse else None,
    )


def _in_order(columns: TraceColumns) -> TraceColumns:
    times_s = columns.timestamp_s
    if (times_s[1:] >= times_s[:-1]).all():
        return columns
    return columns.take(np.argsort(times_s, kind="stable"))
