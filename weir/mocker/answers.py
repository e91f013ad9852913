"""Answers as bytes, in vLLM's words.

The chunk that carries a token is the same for every token of a stream, HTTP framing and all, so
it is made once.
"""

from typing import Any, Protocol

import orjson

from weir.engine.request import Sequence
from weir.http1.openai import JSON_TYPE, SSE_DONE, SSE_TYPE, openai_error, sse_event
from weir.http1.server import Responder
from weir.mocker.generation import Generation

__all__ = ["Answer", "StreamedAnswer", "WholeAnswer"]

_TOKEN = " tok"
_JSON_HEADERS = [(b"content-type", JSON_TYPE)]
_SSE_HEADERS = [(b"content-type", SSE_TYPE), (b"cache-control", b"no-cache")]
_CHUNKED = (b"transfer-encoding", b"chunked")
_LAST_CHUNK = b"0\r\n\r\n"
_MOST_UNREAD_BYTES = 1 << 20
"""What a client may leave unread, beyond what the kernel takes, before it is given up."""


class Answer(Protocol):
    """How the tokens of one request reach its client."""

    def token(self) -> bool:
        """A token that is not the last came out; False if the client must be given up."""
        ...

    def end(self, sequence: Sequence, kv_transfer_params: dict[str, Any] | None) -> None:
        """The last token came out."""
        ...

    def fail(self, status: int, message: str) -> None:
        """There will be no more tokens."""
        ...


class WholeAnswer:
    """One JSON object when all is there."""

    __slots__ = ("_created", "_generation", "_id", "_model", "_responder")

    def __init__(
        self, responder: Responder, generation: Generation, *, id: str, model: str, created: int
    ) -> None:
        self._responder = responder
        self._generation = generation
        self._id = id
        self._model = model
        self._created = created

    def token(self) -> bool:
        return True

    def end(self, sequence: Sequence, kv_transfer_params: dict[str, Any] | None) -> None:
        generation, text = self._generation, _TOKEN * self._generation.output_tokens
        choice: dict[str, Any] = {"index": 0}
        if generation.chat:
            choice["message"] = {"role": "assistant", "content": text, "tool_calls": []}
        else:
            choice["text"] = text
        ending = {"finish_reason": generation.finish_reason, "stop_reason": None}
        choice |= {"logprobs": None, **ending}
        body = orjson.dumps(
            {
                "id": self._id,
                "object": "chat.completion" if generation.chat else "text_completion",
                "created": self._created,
                "model": self._model,
                "choices": [choice],
                "usage": _usage(generation, sequence),
                "kv_transfer_params": kv_transfer_params,
            }
        )
        self._responder.send(200, _JSON_HEADERS, body)

    def fail(self, status: int, message: str) -> None:
        self._responder.send_error(status, message)


class StreamedAnswer:
    """Server-sent events, one write for each token; the head goes out with the first."""

    __slots__ = ("_chunked", "_envelope", "_generation", "_responder", "_token", "_unread")

    def __init__(
        self, responder: Responder, generation: Generation, *, id: str, model: str, created: int
    ) -> None:
        kind = "chat.completion.chunk" if generation.chat else "text_completion"
        self._envelope = {"id": id, "object": kind, "created": created, "model": model}
        self._responder = responder
        self._generation = generation
        self._chunked = responder.request.http_version == "1.1"
        self._token = self._framed(self._event(None))
        self._unread = 0

    def token(self) -> bool:
        responder = self._responder
        if not responder.started:
            self._start()
        responder.write_raw(self._token)
        if not responder.paused:
            self._unread = 0
            return True
        self._unread += len(self._token)
        return self._unread <= _MOST_UNREAD_BYTES

    def end(self, sequence: Sequence, kv_transfer_params: dict[str, Any] | None) -> None:
        if not self._responder.started:
            self._start()
        pieces = [self._framed(self._event(self._generation.finish_reason))]
        if self._generation.include_usage:
            usage = {"choices": [], "usage": _usage(self._generation, sequence)}
            pieces.append(self._framed(self._data(usage)))
        pieces.append(self._framed(SSE_DONE))
        self._finish(pieces)

    def fail(self, status: int, message: str) -> None:
        if self._responder.started:
            error = sse_event(openai_error(status, message))
            self._finish([self._framed(error)])
        else:
            self._responder.send_error(status, message)

    def _start(self) -> None:
        headers = [*_SSE_HEADERS, _CHUNKED] if self._chunked else _SSE_HEADERS
        self._responder.start(200, headers, raw=self._chunked)
        if self._generation.chat:
            delta = {"role": "assistant", "content": ""}
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
            self._responder.write_raw(self._framed(self._data({"choices": [choice]})))

    def _finish(self, pieces: list[bytes]) -> None:
        if self._chunked:
            pieces.append(_LAST_CHUNK)
        self._responder.write_raw(b"".join(pieces))
        self._responder.finish()

    def _event(self, finish_reason: str | None) -> bytes:
        """The event of one token."""
        choice: dict[str, Any] = {"index": 0}
        if self._generation.chat:
            choice["delta"] = {"content": _TOKEN}
        else:
            choice["text"] = _TOKEN
        choice |= {"logprobs": None, "finish_reason": finish_reason}
        if finish_reason is not None or not self._generation.chat:
            choice["stop_reason"] = None
        return self._data({"choices": [choice]})

    def _data(self, content: dict[str, Any]) -> bytes:
        return sse_event(orjson.dumps(self._envelope | content))

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data


def _usage(generation: Generation, sequence: Sequence) -> dict[str, Any]:
    cached = sequence.cached_tokens
    return {
        "prompt_tokens": generation.prompt_tokens,
        "total_tokens": generation.prompt_tokens + generation.output_tokens,
        "completion_tokens": generation.output_tokens,
        "prompt_tokens_details": {"cached_tokens": cached} if cached else None,
    }
