"""Whether a file has changed since somebody looked."""

from pathlib import Path

__all__ = ["Signature", "signature"]

Signature = tuple[int, int, int]
"""Differs whenever the file was replaced or written; links are followed."""


def signature(path: Path) -> Signature | None:
    """None if there is no such file now."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
