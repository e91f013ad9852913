"""What the prefix cache holds, published over ZMQ as vLLM does it.

A message for each iteration in which anything has changed: topic, number, and msgpack of the
events. The newest are kept to be asked for again.
"""

import logging
import time
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import msgpack

from weir.engine.kv import KvChange
from weir.engine.model import EngineModel
from weir.mocker.settings import MockerSettings, SettingsError

__all__ = ["KvPublisher", "TokenBlocks", "events_of"]

_log = logging.getLogger("weir.mocker")
_TOKEN_BYTES = 4
_KEPT = 10_000
_TOPIC = b""
_END = b"\xff" * 8
_NUMBER_BYTES = 8
_64_BITS = 2**64 - 1


class TokenBlocks:
    """The tokens of blocks that are resident or may become so again, by their hash."""

    def __init__(self, block_tokens: int) -> None:
        self.block_tokens = block_tokens
        self._size = block_tokens * _TOKEN_BYTES
        self._blocks: dict[int, tuple[bytes, int]] = {}
        self.resident: dict[int, None] = {}

    def __len__(self) -> int:
        return len(self._blocks)

    def __getitem__(self, block: int) -> list[int]:
        return array("I", self._blocks[block][0]).tolist()

    def hold(self, hashes: Sequence[int], material: bytes) -> None:
        """Someone may ask for them, until they are let go as often."""
        blocks, size = self._blocks, self._size
        for index, block in enumerate(hashes):
            tokens, count = blocks.get(block) or (material[index * size : (index + 1) * size], 0)
            blocks[block] = (tokens, count + 1)

    def let_go(self, hashes: Iterable[int]) -> None:
        for block in hashes:
            tokens, count = self._blocks[block]
            if count > 1:
                self._blocks[block] = (tokens, count - 1)
            else:
                del self._blocks[block]


def events_of(changes: Sequence[KvChange], tokens: TokenBlocks) -> list[dict[str, Any]]:
    """The changes as vLLM tells them; blocks that follow each other are one event.

    Blocks are held in `tokens` while they are resident.
    """
    events: list[dict[str, Any]] = []
    last: int | None = None
    for block, before, resident in changes:
        if block is None:
            events.append({"type": "AllBlocksCleared"})
            tokens.let_go(tokens.resident)
            tokens.resident.clear()
            last = None
        elif not resident:
            tokens.let_go((block,))
            del tokens.resident[block]
            if events and events[-1]["type"] == "BlockRemoved":
                events[-1]["block_hashes"].append(block & _64_BITS)
            else:
                events.append(
                    {"type": "BlockRemoved", "block_hashes": [block & _64_BITS], "medium": "GPU"}
                )
            last = None
        else:
            tokens.hold((block,), b"")
            tokens.resident[block] = None
            if last is None or before != last:
                events.append(_stored(before, tokens.block_tokens))
            events[-1]["block_hashes"].append(block & _64_BITS)
            events[-1]["token_ids"].extend(tokens[block])
            last = block
    return events


def _stored(before: int | None, block_tokens: int) -> dict[str, Any]:
    return {
        "type": "BlockStored",
        "block_hashes": [],
        "parent_block_hash": None if before is None else before & _64_BITS,
        "token_ids": [],
        "block_size": block_tokens,
        "lora_id": None,
        "medium": "GPU",
        "lora_name": None,
    }


class KvPublisher:
    """Raises `SettingsError` without pyzmq, `OSError` if a port cannot be had."""

    def __init__(self, settings: MockerSettings, engine: EngineModel) -> None:
        try:
            import zmq.asyncio
        except ImportError:
            message = "--kv-events-port needs pyzmq: install weir[kv-events]"
            raise SettingsError(message) from None
        self._tokens = TokenBlocks(settings.profile.block_tokens)
        self._engine = engine
        engine.kv.changes = []
        self._number = 0
        self._kept: deque[tuple[bytes, bytes]] = deque(maxlen=_KEPT)
        self._context = zmq.Context()
        self._events = self._context.socket(zmq.PUB)
        self._replays: zmq.asyncio.Socket | None = None
        host = f"[{settings.host}]" if ":" in settings.host else settings.host or "*"
        ipv6 = ":" in settings.host
        self._events.setsockopt(zmq.IPV6, ipv6)
        try:
            self._events.bind(f"tcp://{host}:{settings.kv_events_port}")
            if settings.kv_replay_port is not None:
                self._replays = zmq.asyncio.Context(self._context).socket(zmq.ROUTER)
                self._replays.setsockopt(zmq.IPV6, ipv6)
                self._replays.bind(f"tcp://{host}:{settings.kv_replay_port}")
        except zmq.ZMQError as error:
            self.close()
            raise OSError(error.errno, f"the port for KV events: {error}") from None
        bound = [
            each.getsockopt_string(zmq.LAST_ENDPOINT)
            for each in (self._events, self._replays)
            if each
        ]
        _log.info("KV events at=%s", " ".join(bound))

    def hold(self, hashes: Sequence[int], material: bytes) -> None:
        """A request has come that may put these into the cache."""
        self._tokens.hold(hashes, material)

    def let_go(self, hashes: Sequence[int]) -> None:
        """It has ended."""
        self._tokens.let_go(hashes)

    def publish(self) -> None:
        """What has changed since the last time, if anything has."""
        changes = self._engine.kv.changes
        if not changes:
            return
        self._engine.kv.changes = []
        batch = {"ts": time.time(), "events": events_of(changes, self._tokens)}
        payload = msgpack.packb(batch | {"data_parallel_rank": 0})
        number = self._number.to_bytes(_NUMBER_BYTES, "big")
        self._number += 1
        self._kept.append((number, payload))
        self._events.send_multipart((_TOPIC, number, payload))

    async def replay(self) -> None:
        """Answer who asks for messages from a number on; for ever."""
        while self._replays is not None:
            frames = await self._replays.recv_multipart()
            if len(frames) != 3 or len(frames[2]) != _NUMBER_BYTES:
                continue
            for number, payload in list(self._kept):
                if number >= frames[2]:
                    await self._replays.send_multipart((frames[0], b"", number, payload))
            await self._replays.send_multipart((frames[0], b"", _END, b""))

    def close(self) -> None:
        if self._replays is not None:
            self._replays.close(linger=0)
        self._context.destroy(linger=0)
