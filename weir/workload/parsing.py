"""Lines of a trace as columns: regular blocks all at once, anything else row by row.

A block is regular if it has no quotes and every cell is right; it then means the same to the
strict reader, which alone knows the line that is wrong. From the first irregular block on the
strict reader has the rest of the file, since a quoted cell may go on in the next block.
"""

import csv
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NoReturn, TextIO

from weir.domain.errors import TraceError
from weir.workload.blocks import MAX_LINE, text_of
from weir.workload.cells import Header, header_of, reuse_of, timestamp_of, tokens_of
from weir.workload.parts import Names, Part, part_of_cells, part_of_rows

__all__ = ["Parser"]

_IRREGULAR = ('"', "\r", "\0")
_LINE_END = 2


class Parser:
    """Reads one file; `line` counts the lines that it has taken, also after an error."""

    def __init__(self, source: str, tenant_column: str | None) -> None:
        self.line = 0
        self.header: Header | None = None
        self.names = Names()
        self._source = source
        self._tenant_column = tenant_column

    def parts(self, blocks: Iterator[bytes]) -> Iterator[Part]:
        """Raises `TraceError`; `UnicodeDecodeError`, `csv.Error` and what `blocks` raises."""
        seen = False
        for block in blocks:
            text = self._regular(block)
            part = None if text is None else self._quick(text)
            if part is None:
                part = self._strict(chain((block,), blocks))
            seen = seen or len(part.timestamp_s) > 0
            yield part
        if self.header is None:
            self._refuse(1, "the file is empty; it needs a header and rows")
        if not seen:
            self._refuse(self.line + 1, "no rows after the header")

    def _regular(self, block: bytes) -> str | None:
        """The block's text with plain line ends, if all its lines are plain."""
        try:
            text = block.decode(self._encoding()).replace("\r\n", "\n")
        except UnicodeDecodeError:
            return None
        if not text or any(mark in text for mark in _IRREGULAR):
            return None
        return text if max(map(len, text.split("\n"))) < MAX_LINE - _LINE_END else None

    def _encoding(self) -> str:
        return "utf-8" if self.line else "utf-8-sig"

    def _quick(self, text: str) -> Part | None:
        """Every newline gets a comma before it: in regular rows it then begins a first cell."""
        header, head_lines = self.header, 0
        if header is None:
            head, _, text = text.partition("\n")
            header, head_lines = self._header(head.split(",") if head else []), 1
        text = text.removesuffix("\n")
        rows = text.count("\n") + 1 if text else 0
        cells = text.replace("\n", ",\n").split(",") if text else []
        if len(cells) != rows * header.width:
            return None
        if "".join(cells[:: header.width]).count("\n") != max(0, rows - 1):
            return None
        columns = {name: cells[place :: header.width] for name, place in header.places.items()}
        try:
            part = part_of_cells(columns, self.names)
        except ValueError:
            return None
        self.header = header
        self.line += head_lines + rows
        return part

    def _strict(self, blocks: Iterator[bytes]) -> Part:
        text, before = text_of(blocks, self._encoding()), self.line
        reader = csv.reader(self._lines(text), strict=True)
        try:
            if self.header is None:
                head = next(reader, None)
                if head is None:
                    return part_of_rows((), self.names)
                self.header = self._header(head)
            rows = list(self._rows(reader, self.header, before))
        finally:
            self.line = before + reader.line_num
        return part_of_rows(rows, self.names)

    def _lines(self, text: TextIO) -> Iterator[str]:
        number = self.line
        while line := text.readline(MAX_LINE):
            number += 1
            if "\0" in line:
                self._refuse(number, "holds a NUL byte (is this a CSV file?)")
            if len(line) == MAX_LINE:
                self._refuse(number, f"longer than {MAX_LINE} characters (is this a CSV file?)")
            yield line

    def _rows(self, reader: Any, header: Header, before: int) -> Iterator[tuple[Any, ...]]:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            try:
                if len(row) != header.width:
                    raise ValueError(f"has {len(row)} values, the header names {header.width}")
                cells = {name: row[place].strip() for name, place in header.places.items()}
                yield (
                    timestamp_of(cells["timestamp_s"]),
                    tokens_of("isl", cells["isl"]),
                    tokens_of("osl", cells["osl"]),
                    cells.get("class", ""),
                    cells.get("tenant", ""),
                    reuse_of(cells.get("reuse_tok", "")),
                )
            except ValueError as error:
                self._refuse(before + reader.line_num, str(error))

    def _header(self, cells: Sequence[str]) -> Header:
        return header_of(cells, self._source, self._tenant_column)

    def _refuse(self, line: int, problem: str) -> NoReturn:
        raise TraceError(self._source, line, problem)
