"""Memory that the processes of one router share: each writes its own slot, all read all.

A slot holds one message. Who reads while it is written gets nothing, and sees that by its
checksum: there are no locks, so a process that dies holds up nobody.
"""

import mmap
import os
import struct
import tempfile
from zlib import crc32

__all__ = ["SLOTS", "Table"]

SLOTS = 128
_SLOT_BYTES = 1 << 22
"""Memory is taken only where something was written."""
_HEAD = struct.Struct("<QII")
"""Number of the message, its length, its checksum."""


class Table:
    """`fd` is inherited by those who share it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, SLOTS * _SLOT_BYTES)

    @classmethod
    def create(cls) -> "Table":
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("weir-router")
        else:
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.ftruncate(fd, SLOTS * _SLOT_BYTES)
        return cls(fd)

    def close(self) -> None:
        self._memory.close()
        os.close(self.fd)

    def write(self, slot: int, message: bytes) -> bool:
        """Replace the slot's message; False if it is too long."""
        if len(message) > _SLOT_BYTES - _HEAD.size:
            return False
        start = slot * _SLOT_BYTES
        number, _, _ = _HEAD.unpack_from(self._memory, start)
        body = start + _HEAD.size
        self._memory[body : body + len(message)] = message
        _HEAD.pack_into(self._memory, start, number + 1, len(message), crc32(message))
        return True

    def number(self, slot: int) -> int:
        """Of the message in it; 0 if nobody has written any."""
        number: int = _HEAD.unpack_from(self._memory, slot * _SLOT_BYTES)[0]
        return number

    def read(self, slot: int) -> tuple[int, bytes] | None:
        """Number and message; None while it is being written."""
        start = slot * _SLOT_BYTES
        number, length, checksum = _HEAD.unpack_from(self._memory, start)
        body = start + _HEAD.size
        message = self._memory[body : body + min(length, _SLOT_BYTES - _HEAD.size)]
        return (number, message) if crc32(message) == checksum else None
