"""A stand-in for a tokenizer: every four bytes are a token.

A prompt becomes `material`, four bytes for each token, so that its length, the hashes of its
blocks and the length of the answer it gets all follow from it. Equal beginnings of two
prompts are equal beginnings of their material, also when a conversation grows by a message.
"""

import math
import zlib
from array import array
from collections.abc import Iterable, Sequence

__all__ = [
    "block_hashes",
    "chat_material",
    "natural_output_tokens",
    "text_material",
    "token_count",
    "token_material",
]

_BYTES = 4
_ROLE_BYTES = 16
_MEAN_OUTPUT_TOKENS = 200.0
_LONGEST_OUTPUT_TOKENS = 2000


def token_count(material: bytes) -> int:
    return len(material) // _BYTES


def text_material(text: str) -> bytes:
    """Text as its UTF-8 bytes, the last token filled up."""
    data = text.encode("utf-8", "surrogatepass")
    return data + bytes(-len(data) % _BYTES)


def token_material(ids: Sequence[int]) -> bytes:
    """Token ids as they are. Raises `OverflowError` for one outside 0..2^32-1."""
    return array("I", ids).tobytes()


def chat_material(messages: Iterable[tuple[str, str]]) -> bytes:
    """Messages as (role, content): four tokens for the role, then the content."""
    pieces: list[bytes] = []
    for role, content in messages:
        pieces.append(role.encode("utf-8", "surrogatepass")[:_ROLE_BYTES].ljust(_ROLE_BYTES))
        pieces.append(text_material(content))
    return b"".join(pieces)


def block_hashes(material: bytes, block_tokens: int) -> tuple[int, ...]:
    """A hash for each full block, over it and all before it. Comparable in this process only."""
    size = block_tokens * _BYTES
    hashes: list[int] = []
    previous = 0
    for start in range(0, len(material) - size + 1, size):
        previous = hash((previous, material[start : start + size]))
        hashes.append(previous)
    return tuple(hashes)


def natural_output_tokens(material: bytes) -> int:
    """How long the answer to this prompt is: the same every time, exponential, mean 200."""
    share = (zlib.crc32(material) + 0.5) / 2**32
    return 1 + min(_LONGEST_OUTPUT_TOKENS, int(-math.log1p(-share) * _MEAN_OUTPUT_TOKENS))
