"""A transport in memory, for protocols driven by hand."""

import asyncio
from typing import Any

__all__ = ["FakeTransport"]


class FakeTransport(asyncio.Transport):
    """Keeps what is written. `reading`, `closed` and `half_closed` say what was asked for."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = b""
        self.reading = True
        self.closed = False
        self.half_closed = False
        self.buffered = 0

    def write(self, data: Any) -> None:
        assert not self.half_closed, "written after the end"
        self.written += bytes(data)

    def writelines(self, lines: Any) -> None:
        self.write(b"".join(lines))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.half_closed = True

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True
