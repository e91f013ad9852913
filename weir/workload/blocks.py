"""A trace file's bytes, unpacked, in blocks of whole lines; and blocks as one text again."""

import gzip
import io
from collections.abc import Iterator
from io import BufferedReader
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["MAX_LINE", "blocks_of", "text_of"]

MAX_LINE = 65_536
"""Characters from which on a line is refused, its end included."""

_GZIP_MAGIC = b"\x1f\x8b"
_BLOCK = 131_072
_MOST_BYTES_OF_A_LINE = 4 * MAX_LINE


def blocks_of(file: BufferedReader) -> Iterator[bytes]:
    """The file's bytes, unpacked if it is gzip'ed; works on pipes too.

    A block ends with a newline, unless it is the last or its last line is longer than any line
    may be. Raises what reading and unpacking raise.
    """
    packed = file.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
    data = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file
    rest = b""
    while chunk := data.read(_BLOCK):
        lines, newline, rest = (rest + chunk).rpartition(b"\n")
        if newline:
            yield lines + newline
        if len(rest) > _MOST_BYTES_OF_A_LINE:
            yield rest
            rest = b""
    if rest:
        yield rest


def text_of(blocks: Iterator[bytes], encoding: str) -> TextIO:
    """The blocks as a text file with its line ends as they are."""
    return io.TextIOWrapper(io.BufferedReader(_Joined(blocks)), encoding=encoding, newline="")


class _Joined(io.RawIOBase):
    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        if not self._rest:
            self._rest = memoryview(next(self._blocks, b""))
        target = memoryview(buffer).cast("B")
        size = min(len(target), len(self._rest))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
