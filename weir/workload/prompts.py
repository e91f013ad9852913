"""Prompts of an exact length for replay, cheap to make and unlike each other."""

import hashlib

__all__ = ["prompt_of"]


def prompt_of(tokens: int, seed: int | str) -> str:
    """Text that counts as `tokens` tokens at 4 bytes each.

    The same seed gives the same text, of which a shorter prompt is a prefix; different seeds
    differ from the first token on, so that no prefix cache helps (two in 65,536 seeds may
    share a single token).

    Raises `ValueError` if `tokens` is negative.
    """
    if tokens < 0:
        raise ValueError(f"tokens must be >= 0, not {tokens}")
    return hashlib.shake_128(str(seed).encode()).hexdigest(2 * tokens)
