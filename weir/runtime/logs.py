"""Logging of one process: one line per record on stderr, `time level role message`."""

import logging
import sys
import time

__all__ = ["setup"]


class _Formatter(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def __init__(self, role: str) -> None:
        super().__init__(
            f"%(asctime)s.%(msecs)03dZ %(levelname)s {role} %(message)s", "%Y-%m-%dT%H:%M:%S"
        )

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", "\\n ")


def setup(role: str, level: str = "INFO") -> None:
    """Send all records of this process to stderr, one line each (newlines escaped)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(role))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("nats", "aiohttp.access", "asyncio", "grpc"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
