"""Decisions in a file of JSON lines, rotated by size: FILE, then FILE.1 and so on, older and older.

Each line is one write at the end of the file, which is opened anew for it: a file that somebody
has moved or deleted is no trouble, and neither is a second process. A line that a full disk cut
short is taken back.
"""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from weir import codec
from weir.domain.decision import DecisionRecord
from weir.domain.errors import UnavailableError

__all__ = ["FILE_NAME", "JsonlFile", "newest_first", "place_of"]

FILE_NAME = "decisions.jsonl"
_MOST_BYTES = 16 << 20
_MOST_FILES = 8


def place_of(path: Path) -> Path:
    """The file itself: FILE_NAME in `path` if that is a folder."""
    return path / FILE_NAME if path.is_dir() else path


class JsonlFile:
    """At most `most_files` of about `most_bytes` each. A disk that hangs keeps nobody waiting."""

    name = "file"

    def __init__(
        self, path: Path, *, most_bytes: int = _MOST_BYTES, most_files: int = _MOST_FILES
    ) -> None:
        self.path = path
        self._most_bytes = most_bytes
        self._most_files = most_files
        self._writing = False

    async def write(self, record: DecisionRecord) -> None:
        """Raises `OSError`, and `UnavailableError` while the write before is not done.

        In a thread of its own, as a daemon: no executor that an exit would wait for.
        """
        if self._writing:
            raise UnavailableError(f"{self.path}: the disk has not answered yet")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def work() -> None:
            try:
                self.append(codec.decision_json(record) + b"\n")
                result: Exception | None = None
            except Exception as error:
                result = error
            self._writing = False
            with suppress(RuntimeError):  # the loop has ended before the disk answered
                loop.call_soon_threadsafe(_resolve, done, result)

        writer = threading.Thread(target=work, name="decisions", daemon=True)
        self._writing = True
        try:
            writer.start()
        except RuntimeError as error:
            self._writing = False
            raise UnavailableError(f"{self.path}: {error}") from None
        await done

    def append(self, line: bytes) -> None:
        """Add one line, after a rotation if there is no room for it. Raises `OSError`."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            size = self.path.stat().st_size
            if size > 0 and size + len(line) > self._most_bytes:
                self._rotate()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        file = os.open(self.path, flags, 0o644)
        try:
            written = os.write(file, line)
            if written < len(line):
                os.ftruncate(file, os.fstat(file).st_size - written)
                raise OSError(f"{self.path}: no room for a line of {len(line)} bytes")
        finally:
            os.close(file)

    def _rotate(self) -> None:
        """The oldest is replaced by the one before it."""
        if self._most_files < 2:
            self.path.unlink()
            return
        for number in range(self._most_files - 2, -1, -1):
            with suppress(FileNotFoundError):
                _numbered(self.path, number).replace(_numbered(self.path, number + 1))


def newest_first(path: Path) -> Iterator[DecisionRecord]:
    """What the log holds; lines that are no decisions are passed over.

    Raises `OSError` if `path` cannot be read.
    """
    number, present = 0, path
    while number == 0 or present.exists():
        for line in reversed(present.read_bytes().splitlines()):
            with suppress(ValueError):
                yield codec.decision_from_json(line)
        number += 1
        present = _numbered(path, number)


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}") if number else path


def _resolve(done: "asyncio.Future[None]", error: Exception | None) -> None:
    if done.done():  # nobody waits any more
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
