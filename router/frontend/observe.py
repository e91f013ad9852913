"""What passing bytes tell without being parsed: events, token counts, an error in the stream."""

import re
from collections import deque

from router.core.request import Outcome

__all__ = ["StreamWatch", "Usage", "find_cached", "find_usage"]

_TAIL_READS = 4
_TAIL_BYTES = 16384
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_USAGE_BYTES = 1024
_PROMPT = re.compile(rb'"prompt_tokens"\s*:\s*(\d{1,9})\b')
_OUTPUT = re.compile(rb'"completion_tokens"\s*:\s*(\d{1,9})\b')
_CACHED = re.compile(rb'"cached_tokens"\s*:\s*(\d{1,9})\b')
_DONE = b"data: [DONE]"
_ERROR = re.compile(rb'data: \{\s*"error"\s*:')
_ROLE_ONLY = re.compile(rb'"role"\s*:\s*"assistant"\s*,\s*"content"\s*:\s*(?:""|null)')

Usage = tuple[int | None, int | None]
"""Prompt and output tokens as the engine counted them."""


def find_usage(data: bytes) -> Usage:
    """Token counts of the last `usage` object in `data`.

    The name cannot be mistaken for generated text: quotes inside of JSON strings are escaped.
    """
    last = data.rfind(b'"usage"')
    if last < 0 or not _USAGE.match(data, last):
        return None, None
    end = last + _USAGE_BYTES
    prompt, output = _PROMPT.search(data, last, end), _OUTPUT.search(data, last, end)
    return (int(prompt[1]) if prompt else None), (int(output[1]) if output else None)


def find_cached(data: bytes) -> int | None:
    """Prompt tokens that the last `usage` object in `data` says were cached, 0 if it does not.

    None without such an object.
    """
    last = data.rfind(b'"usage"')
    if last < 0 or not _USAGE.match(data, last):
        return None
    cached = _CACHED.search(data, last, last + _USAGE_BYTES)
    return int(cached[1]) if cached else 0


class StreamWatch:
    """Sees every read of an event stream. `events` counts `data:` lines so far.

    Text inside of JSON cannot hold a raw line feed, so a marker that begins with one counts
    events and nothing else; it fits wherever each read begins with chunk framing.
    """

    __slots__ = ("_first", "_marker", "_tail", "events")

    def __init__(self, *, chunked: bool) -> None:
        self._marker = b"\ndata: " if chunked else b"data: "
        self._tail: deque[bytes] = deque(maxlen=_TAIL_READS)
        self._first = b""
        self.events = 0

    def see(self, data: bytes) -> None:
        if not self.events:
            self._first = data[:_TAIL_BYTES]
        self.events += data.count(self._marker)
        if len(data) > _TAIL_BYTES:  # it is the whole ending, and must not be held whole
            data = data[-_TAIL_BYTES:]
            self._tail.clear()
        self._tail.append(data)

    @property
    def after_event(self) -> bool:
        """What came last ended an event."""
        last = self._tail[-1].rstrip(b"\r") if self._tail else b"\n\n"
        return last.endswith((b"\n\n", b"\n\n\r\n", b"\n\r\n", b"\n\r\n\r\n"))

    def outcome(self) -> Outcome:
        """What a stream that ended properly amounts to."""
        return Outcome.FAILED if _ERROR.search(self._ending()) else Outcome.COMPLETED

    def usage(self) -> Usage:
        """As the engine reports it, else output tokens by counting events."""
        ending = self._ending()
        prompt, output = find_usage(ending)
        if output is None:
            extra = 1 if _DONE in ending else 0
            extra += 1 if _ROLE_ONLY.search(self._first) else 0
            output = max(0, self.events - extra)
        return prompt, output

    def cached(self) -> int | None:
        """As `find_cached` has it."""
        return find_cached(self._ending())

    def _ending(self) -> bytes:
        return b"".join(self._tail)[-_TAIL_BYTES:]
