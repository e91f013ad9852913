"""What of a request's prompt ties it to workers that have had the same before."""

from array import array
from typing import Any

import orjson

from router.core.reuse.holdings import TokenChain
from router.core.reuse.ties import LEAST_SIZE, Ties, chain
from router.frontend.envelope import Endpoint, Envelope

__all__ = ["ties_of"]

_TOKEN_BYTES = 4
_NO_SEED = 0


def ties_of(envelope: Envelope, session: str, *, exact: bool = False) -> Ties | None:
    """None if the prompt is too short to matter and belongs to no session.

    Messages are hashed as they are written here, not as the client has: a conversation's next turn
    begins with the same bytes, however it is formatted. Tools come first, as in the prompts that
    engines make. Engines share nothing between prompts of different `cache_salt`.
    `exact`: token ids are of use, too, as engines will have them.
    """
    tokens = envelope.prompt_tokens or 0
    if envelope.prompt_bytes < LEAST_SIZE > tokens * _TOKEN_BYTES:
        return Ties(session=session) if session else None
    data = envelope.data
    tools = b""
    chained: TokenChain | None = None
    salt = data.get("cache_salt")
    if envelope.endpoint is Endpoint.CHAT:
        material = orjson.dumps(data["messages"])
        if data.get("tools"):
            tools = orjson.dumps(data["tools"])
    elif isinstance(data["prompt"], str):
        material = data["prompt"].encode()
    else:
        material = _batch(data["prompt"])
        if exact and material and not salt and isinstance(data["prompt"][0], int):
            chained = TokenChain(material)
    seed = hash((tools, salt)) if tools or isinstance(salt, str) else _NO_SEED
    hashes = chain(material, seed)
    return Ties(hashes, size=len(material), session=session, before=len(tools), tokens=chained)


def _batch(prompt: list[Any]) -> bytes:
    """Token ids, of equal length each; else several prompts, by the first ones in order."""
    if isinstance(prompt[0], int):
        try:
            return array("I", prompt).tobytes()
        except (OverflowError, TypeError):
            return b""
    return orjson.dumps(prompt)
