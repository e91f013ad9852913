"""`weir router` as a process, or several, of its own."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from router.config import Address
from tests.integration.frontend.world import (
    EVENT_STREAM,
    LAST,
    Behaviour,
    Engine,
    Received,
    answers,
    chunk,
    event,
)
from tests.integration.router_world import RouterWorld
from weir.runtime.lifecycle import Stop

__all__ = ["TOKEN", "WEIR", "Process", "held_stream", "process", "workers"]

WEIR = (sys.executable, "-P", "-m", "weir", "router")
_START_S = 150.0
"""Each process imports much, on a machine that may be busy."""
LISTENING = re.compile(r"listening host=\S+ port=(\d+) control_port=(\d+)")
TOKEN = chunk(event({"choices": [{}]}))


def held_stream(go_on: asyncio.Event) -> Behaviour:
    """One token, and the other 199 when the test lets it."""

    async def behave(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Received
    ) -> None:
        await answers(EVENT_STREAM, TOKEN)(reader, writer, request)
        await go_on.wait()
        await answers(*[TOKEN] * 199, chunk(event("[DONE]")), LAST)(reader, writer, request)

    return behave


@dataclass
class Process(RouterWorld):
    child: asyncio.subprocess.Process

    async def exit_code(self) -> int:
        return await asyncio.wait_for(self.child.wait(), _START_S)


@asynccontextmanager
async def process(*arguments: str, port: int = 0) -> AsyncIterator[Process]:
    """A running router on a port, free ones by default; killed if the test leaves it behind."""
    command = [*WEIR, "--listen", f"127.0.0.1:{port}", *arguments]
    child = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
    assert child.stderr is not None
    try:
        async with asyncio.timeout(_START_S):
            said = ""
            while True:
                line = (await child.stderr.readline()).decode()
                said += line
                assert line, f"the router ended before it listened:\n{said}"
                if found := LISTENING.search(line):
                    break
        public, control = (Address(host="127.0.0.1", port=int(port)) for port in found.groups())
        reading = asyncio.create_task(child.stderr.read())
        yield Process(public, control, Stop(), reading, child)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


def workers(*engines: Engine) -> list[str]:
    urls = [f"http://127.0.0.1:{e.worker.port}" for e in engines]
    return [word for url in urls for word in ("--worker", url)]
