"""A NATS server that says what a test tells it to, so that the client's own reading is tested."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["HANG_UP", "NOBODY", "SILENCE", "ScriptedServer", "ack", "error", "message"]

NOBODY = b"NATS/1.0 503\r\n\r\n"
"""Nobody listens on the subject: no such stream, or one without a leader."""

SILENCE = b""

HANG_UP = b"hang up"


def ack(sequence: int) -> bytes:
    return json.dumps({"stream": "KV_b", "seq": sequence}).encode()


def error(code: int, err_code: int, description: str) -> bytes:
    return json.dumps(
        {"error": {"code": code, "err_code": err_code, "description": description}}
    ).encode()


def message(subject: str, sequence: int, value: bytes, headers: str = "") -> bytes:
    """A stored message, as STREAM.MSG.GET has it."""
    stored: dict[str, Any] = {
        "subject": subject,
        "seq": sequence,
        "data": base64.b64encode(value).decode(),
        "time": "2026-01-01T00:00:00Z",
    }
    if headers:
        text = f"NATS/1.0\r\n{headers}\r\n\r\n"
        stored["hdrs"] = base64.b64encode(text.encode()).decode()
    return json.dumps({"message": stored}).encode()


class ScriptedServer:
    """Answers requests with `answers`, one after the other; the last one again and again."""

    def __init__(self, answers: Iterable[bytes]) -> None:
        self._answers = list(answers)
        self._inbox = b""
        self.url = ""
        self.requests: list[str] = []
        """Their subjects."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["ScriptedServer"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"version":"2.15.1","max_payload":1048576,"headers":true}\r\n')
        while words := (await reader.readline()).split():
            if words[0] == b"PING":
                writer.write(b"PONG\r\n")
            elif words[0] == b"SUB":
                self._inbox = words[-1]
            elif words[0] in (b"PUB", b"HPUB"):
                await reader.readexactly(int(words[-1]) + 2)
                self.requests.append(words[1].decode())
                answer = self._answers[0] if len(self._answers) == 1 else self._answers.pop(0)
                if answer == HANG_UP:
                    break
                self._answer(writer, words[2], answer)
        writer.close()

    def _answer(self, writer: asyncio.StreamWriter, to: bytes, answer: bytes) -> None:
        size = len(answer)
        if answer == NOBODY:
            writer.write(b"HMSG %s %s %d %d\r\n%s\r\n" % (to, self._inbox, size, size, answer))
        elif answer != SILENCE:
            writer.write(b"MSG %s %s %d\r\n%s\r\n" % (to, self._inbox, size, answer))
