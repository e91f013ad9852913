"""One streamed chat completion as the replay's client sees it: cheap per chunk, strict at the end.

Chunks are counted, not parsed. A response is complete when it says [DONE], reports its usage
and has brought at least one event for each token it claims.
"""

import re
from collections.abc import Callable

import orjson

from weir.http1.client import Sink
from weir.http1.messages import Header, find_header
from weir.local.scoring import Outcome
from weir.workload import TraceRequest, prompt_of

__all__ = ["ChatStream", "chat_body"]

_CHAT_OVERHEAD_TOKENS = 4
"""What the chat template adds to a message, in the mock engine's count."""

_EVENTS_AFTER_TOKENS = 2
"""The usage and [DONE]."""

_TAIL_BYTES = 512
_FIRST_TOKEN = re.compile(rb'"content":\s?"[^"]')
_USAGE = re.compile(rb'"completion_tokens":\s?(\d+)')
_ERROR_MESSAGE = re.compile(rb'"error":.*?"message":\s?"((?:[^"\\]|\\.)*)"')


def chat_body(model: str, request: TraceRequest, seed: str) -> bytes:
    """A chat request of the row's ISL whose answer the mock engine makes of the row's OSL.

    The output length travels where a router does not look, as with a real client it would
    not be known.
    """
    prompt = prompt_of(max(1, request.isl_tokens - _CHAT_OVERHEAD_TOKENS), seed)
    return orjson.dumps(
        {
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "vllm_xargs": {"mock_output_tokens": request.osl_tokens},
        }
    )


class ChatStream(Sink):
    """Collects what is needed to judge one response. `now_s` reads the clock."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._events = 0
        self._tail = b""
        self._shed = False
        self.status = 0
        self.first_token_at_s: float | None = None
        self.end_at_s: float | None = None

    def on_response(self, status: int, headers: list[Header]) -> None:
        self.status = status
        self._shed = status in (429, 503) and find_header(headers, b"retry-after") is not None

    def on_data(self, data: bytes) -> None:
        if self.first_token_at_s is None and _FIRST_TOKEN.search(data):
            self.first_token_at_s = self._now_s()
        self._events += data.count(b"\n\n")
        if self._tail[-1:] == b"\n" and data[:1] == b"\n":
            self._events += 1
        self._tail = data if len(data) >= _TAIL_BYTES else (self._tail + data)[-_TAIL_BYTES:]

    def on_end(self) -> None:
        self.end_at_s = self._now_s()

    @property
    def tokens(self) -> int | None:
        """Output tokens by the response's own usage; None if it reports none."""
        found = _USAGE.search(self._tail)
        return int(found[1]) if found else None

    def outcome(self, osl_tokens: int) -> tuple[Outcome, str]:
        """How a response that came to its end is judged, and why if not as completed."""
        if self._shed:
            return Outcome.SHED, f"status {self.status}: {self._message()}"
        if self.status != 200:
            return Outcome.FAILED, f"status {self.status}: {self._message()}"
        if b'{"error":' in self._tail:
            return Outcome.FAILED, f"error in the stream: {self._message()}"
        if b"data: [DONE]" not in self._tail:
            return Outcome.FAILED, "the stream ended without [DONE]"
        return self._judge_length(osl_tokens)

    def _judge_length(self, osl_tokens: int) -> tuple[Outcome, str]:
        tokens = self.tokens
        if tokens is None or self.first_token_at_s is None:
            return Outcome.FAILED, "the stream brought no tokens or no usage"
        if self._events < tokens + _EVENTS_AFTER_TOKENS:
            return Outcome.FAILED, f"{tokens} tokens claimed, {self._events} events received"
        if tokens < osl_tokens:
            return Outcome.FAILED, f"{tokens} of {osl_tokens} tokens"
        return Outcome.COMPLETED, ""

    def _message(self) -> str:
        found = _ERROR_MESSAGE.search(self._tail)
        text = found[1] if found else self._tail[:120]
        return text.decode(errors="replace").strip()
