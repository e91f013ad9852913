"""Where chunks end, found without looking at what is in them."""

import re

__all__ = ["ChunkError", "ChunkReader"]

_SIZES = {b"%x" % size: size for size in range(4096)}
_SIZE_LINE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?")
_MAX_LINE_BYTES = 4096


class ChunkError(ValueError):
    """The peer's chunked body is malformed."""


class ChunkReader:
    """Follows one chunked body through reads of any size.

    `at_boundary`: all bytes so far form whole chunks, so another chunk may be put in here.
    """

    __slots__ = ("_line", "_skip", "_trailers")

    def __init__(self) -> None:
        self._skip = 0  # bytes before the next size line: rest of a chunk and its CRLF
        self._line = b""  # a size or trailer line of which only the beginning has come
        self._trailers = False

    @property
    def at_boundary(self) -> bool:
        return not (self._skip or self._line or self._trailers)

    def feed(self, data: bytes, payload: list[bytes] | None = None) -> int:
        """How many bytes of `data` belong to the body if it ends in them, else -1.

        What the chunks hold is appended to `payload` if given. Raises `ChunkError`.
        """
        held = len(self._line)
        if held:
            data = self._line + data
            self._line = b""
        length = len(data)
        position = self._skip
        if payload is not None and position > 2:
            payload.append(data[: position - 2])
        while position < length:
            end = data.find(b"\r\n", position)
            if end < 0:
                self._hold(data[position:])
                position = length
                break
            if self._trailers:
                if end == position:
                    return end + 2 - held
                position = end + 2
                continue
            line = data[position:end]
            size = _SIZES.get(line)
            if size is None:
                size = _parse_size(line)
            if not size:
                self._trailers = True
                position = end + 2
                continue
            if payload is not None:
                payload.append(data[end + 2 : end + 2 + size])
            position = end + 4 + size
        self._skip = position - length
        return -1

    def _hold(self, line: bytes) -> None:
        if len(line) > _MAX_LINE_BYTES:
            raise ChunkError("a chunk's size line or a trailer is too long")
        self._line = line


def _parse_size(line: bytes) -> int:
    match = _SIZE_LINE.fullmatch(line)
    if match is None:
        raise ChunkError(f"not a chunk size: {line[:32]!r}")
    return int(match[1], 16)
