"""A whole router in this process, engines on real sockets, and a way to ask it things."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router import app
from router.config import Address, RouterConfig, parse_address
from tests.integration.frontend.world import (
    EVENT_STREAM,
    LAST,
    Behaviour,
    Client,
    Reply,
    answers,
    chunk,
    event,
    whole,
)
from tests.integration.ports import free_port
from weir.domain.ids import RouterId
from weir.runtime.lifecycle import Stop

__all__ = ["PREFILLED", "STREAMED", "FLEETS", "RouterWorld", "router"]

_DEADLINE_S = 30.0

FLEETS = Path(__file__).resolve().parents[2] / "examples" / "fleets"
USAGE = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
STREAMED: Behaviour = answers(
    EVENT_STREAM, chunk(event({"choices": [{}]})), chunk(event(USAGE)), chunk(event("[DONE]")), LAST
)
"""A decode leg's answer: one token, then its usage (7 prompt and 3 output tokens)."""
PREFILLED: Behaviour = answers(
    whole(b'{"choices":[],"kv_transfer_params":{"do_remote_prefill":true}}')
)


@dataclass
class RouterWorld:
    public: Address
    control: Address
    stop: Stop
    ended: "asyncio.Task[None]"

    async def post(self, body: Any, path: str = "/v1/chat/completions") -> Reply:
        client = await self.connect()
        client.send(body, path)
        reply = await client.reply()
        client.close()
        return reply

    async def get(self, path: str, *, control: bool = False) -> Reply:
        client = await self.connect(control=control)
        client.writer.write(f"GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n".encode())
        reply = await client.reply()
        client.close()
        return reply

    async def connect(self, *, control: bool = False) -> Client:
        address = self.control if control else self.public
        return Client(*await asyncio.open_connection(address.host, address.port))

    async def ready(self, timeout_s: float = _DEADLINE_S) -> None:
        """Returns when /readyz says 200."""
        async with asyncio.timeout(timeout_s):
            while (await self.get("/readyz")).status != 200:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def router(**fields: Any) -> AsyncIterator[RouterWorld]:
    """Runs until the end of the block, then stops it as SIGTERM would."""
    config = RouterConfig(
        **{
            "router_id": RouterId("r1"),
            "listen": parse_address("--listen", f"127.0.0.1:{free_port()}"),
            "control": parse_address("--control", f"127.0.0.1:{free_port()}"),
            "drain_timeout_s": 2.0,
            **fields,
        }
    )
    stop = Stop()
    task = asyncio.create_task(app.run(config, stop))
    world = RouterWorld(config.listen, config.control, stop, task)
    try:
        async with asyncio.timeout(_DEADLINE_S):
            while not await _listens(config.listen):
                if task.done():
                    task.result()
                await asyncio.sleep(0.01)
        yield world
    finally:
        stop.set()
        await asyncio.wait_for(task, _DEADLINE_S)


async def _listens(address: Address) -> bool:
    try:
        _, writer = await asyncio.open_connection(address.host, address.port)
    except OSError:
        return False
    writer.close()
    return True
