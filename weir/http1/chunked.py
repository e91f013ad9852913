"""Where chunks end, found without looking at what is in them."""

import re

__all__ = ["ChunkError", "ChunkReader"]

_SIZES = {b"%x" % size: size for size in range(4096)}
_SIZE_LINE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n\0]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*")
_LF = 0x0A
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
        if position:
            self._end_chunk(data, position)
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
                _check_trailer(data[position:end])
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
            if not data.startswith(b"\r\n", position - 2):
                _check_cut(data, position)
        self._skip = position - length
        return -1

    def _end_chunk(self, data: bytes, position: int) -> None:
        """Check what ends the chunk that earlier reads began, as far as it is in `data`."""
        if position == 1:
            if data and data[0] != _LF:
                raise _unended()
        elif not data.startswith(b"\r\n", position - 2):
            _check_cut(data, position)

    def _hold(self, line: bytes) -> None:
        if len(line) > _MAX_LINE_BYTES:
            raise ChunkError("a chunk's size line or a trailer is too long")
        self._line = line


def _check_cut(data: bytes, position: int) -> None:
    """`data` must end before both bytes of the CRLF that ends the chunk at `position`."""
    missing = position - len(data)
    if missing <= 0 or (missing == 1 and not data.endswith(b"\r")):
        raise _unended()


def _check_trailer(line: bytes) -> None:
    if _TRAILER.fullmatch(line) is None:
        raise ChunkError(f"not a trailer: {line[:32]!r}")


def _unended() -> ChunkError:
    return ChunkError("a chunk is longer than its size says")


def _parse_size(line: bytes) -> int:
    match = _SIZE_LINE.fullmatch(line)
    if match is None:
        raise ChunkError(f"not a chunk size: {line[:32]!r}")
    return int(match[1], 16)
