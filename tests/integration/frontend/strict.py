"""What a client got, read as strictly as HTTP/1.1 is written: nothing is forgiven."""

import re
from dataclasses import dataclass

__all__ = ["Taken", "take_responses"]

_LINE = rb"[!#$%&'*+.^_`|~0-9a-z-]+: [^\r\n\0]*\r\n"
_HEAD = re.compile(rb"HTTP/1\.1 ([2-9]\d\d) [^\r\n\0]*\r\n((?:%b)*)\r\n" % _LINE)
_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n\0]*)?\r\n")
_TRAILERS = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9a-zA-Z-]+:[^\r\n\0]*\r\n)*\r\n")
_BODILESS = (204, 304)


@dataclass
class Taken:
    """`complete`: the response ended as its framing says, and not because the bytes ended."""

    status: int
    headers: dict[str, str]
    payload: bytes
    complete: bool


def take_responses(data: bytes, *, closed: bool) -> list[Taken]:
    """All responses in `data`, which is everything that came over one connection.

    `closed`: by the server. Only the last response may be incomplete. Raises `AssertionError` where
    anything is not a response, stands where none may be, or contradicts itself.
    """
    taken: list[Taken] = []
    while data:
        head = _HEAD.match(data)
        if head is None:
            assert b"\r\n\r\n" not in data, f"not a response: {data[:200]!r}"
            break
        lines = [line.split(b": ", 1) for line in head[2].split(b"\r\n")[:-1]]
        names = [name.decode() for name, _ in lines]
        for name in ("content-length", "transfer-encoding", "connection", "x-request-id"):
            assert names.count(name) <= 1, f"{name} twice: {data[:200]!r}"
        headers = {name.decode(): value.decode("latin-1") for name, value in lines}
        payload, data, complete = _take_body(int(head[1]), headers, data[head.end() :], closed)
        taken.append(Taken(int(head[1]), headers, payload, complete))
        assert complete or not data
        if headers.get("connection") == "close":
            assert not data, f"something follows the last response: {data[:200]!r}"
    return taken


def _take_body(
    status: int, headers: dict[str, str], data: bytes, closed: bool
) -> tuple[bytes, bytes, bool]:
    length, coding = headers.get("content-length"), headers.get("transfer-encoding")
    assert length is None or coding is None, "a length and a transfer-encoding"
    if status in _BODILESS:
        assert not length
        return b"", data, True
    if coding is not None:
        assert coding == "chunked"
        return _take_chunks(data)
    if length is not None:
        assert length.isdigit()
        size = int(length)
        return data[:size], data[size:], len(data) >= size
    assert headers.get("connection") == "close", "nothing says where this response ends"
    return data, b"", closed


def _take_chunks(data: bytes) -> tuple[bytes, bytes, bool]:
    payload = b""
    while True:
        line = _SIZE.match(data)
        if line is None:
            assert b"\r\n" not in data, f"not a chunk: {data[:100]!r}"
            return payload, b"", False
        size, data = int(line[1], 16), data[line.end() :]
        if not size:
            break
        payload += data[:size]
        if len(data) < size + 2:
            return payload, b"", False
        assert data[size : size + 2] == b"\r\n", f"a chunk that does not end: {data[:100]!r}"
        data = data[size + 2 :]
    end = _TRAILERS.match(data)
    if end is None:
        assert b"\r\n\r\n" not in data, f"not trailers: {data[:100]!r}"
        return payload, b"", False
    return payload, data[end.end() :], True
