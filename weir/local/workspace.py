"""The run's temporary folder: logs, NATS store, profiles. Gone when the run is.

A run holds a lock on its folder. A run that was killed lets go of it, so the next one can
tell what is left over and removes it.
"""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Workspace"]

_PREFIX = "weir-up-"
_LOCK = "lock"


class Workspace:
    """A context manager around `path`. Removes the left-overs of killed runs on entry."""

    def __init__(self, parent: Path | None = None) -> None:
        self._parent = parent or Path(tempfile.gettempdir())
        self._lock: int | None = None
        self.path = Path()

    def __enter__(self) -> Self:
        _sweep(self._parent)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._parent))
        self._lock = _locked_file(self.path)
        self.logs.mkdir()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def log(self, name: str) -> Path:
        """Where the child of this name writes its log."""
        return self.logs / f"{name}.log"


def _locked_file(folder: Path) -> int:
    """Create the lock so that it is never seen without being held."""
    unseen = folder / f"{_LOCK}.new"
    lock = os.open(unseen, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    unseen.rename(folder / _LOCK)
    return lock


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if folder.stat().st_uid == os.getuid() and _abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _abandoned(folder: Path) -> bool:
    """True if no living run holds the folder's lock.

    A folder without a lock may be one that another run is creating now: it stays.
    """
    with suppress(FileNotFoundError, BlockingIOError):
        lock = os.open(folder / _LOCK, os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        finally:
            os.close(lock)
    return False
