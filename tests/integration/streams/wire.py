"""What streams' clients ask of dummy engines, and every byte that engines answer.

Each byte of an answer follows from its request's nonce, so that a client knows them all.
"""

import json
from dataclasses import asdict, dataclass

__all__ = ["DONE", "FAILED_EVENT", "Ask", "asked", "event", "request", "whole"]

DONE = b"data: [DONE]\n\n"
_EVENT = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":'
    b'[{"index":0,"delta":{"content":"%b %d %b"},"finish_reason":null}]}\n\n'
)
FAILED_EVENT = b'data: {"error":{"message":"the engine is out of order","code":500}}\n\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """`chunks` events, `gap_s` apart; 0: a whole answer. `status`: other than 200, that.

    `error`: the engine says so within its stream, instead of its second half.
    """

    nonce: str
    chunks: int = 0
    gap_s: float = 0.0
    pad_bytes: int = 0
    status: int = 200
    error: bool = False


def request(ask: Ask, model: str) -> bytes:
    """As a keep-alive client sends it."""
    prompt = [{"role": "user", "content": f"{ask.nonce}: " + "word " * 40}]
    fields = {"model": model, "stream": ask.chunks > 0, "max_tokens": max(1, ask.chunks)}
    body = json.dumps({**fields, "messages": prompt, "ask": asdict(ask)}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: streams\r\ncontent-type: application/json"
    return f"{head}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def asked(body: bytes) -> Ask:
    return Ask(**json.loads(body)["ask"])


def event(ask: Ask, number: int) -> bytes:
    return _EVENT % (ask.nonce.encode(), number, b"." * ask.pad_bytes)


def whole(ask: Ask) -> bytes:
    """The body of an answer that is not streamed, or of an error."""
    if ask.status != 200:
        return json.dumps({"error": {"message": ask.nonce, "code": "engine"}}).encode()
    usage = {"prompt_tokens": 50, "completion_tokens": 1}
    return json.dumps({"choices": [{"message": {"content": ask.nonce}}], "usage": usage}).encode()
