"""Measured prefill and decode times -> the polynomials of a profile.

Iterations take what their weights, tokens and KV cost: prefill a + b * t + c * t², decode d + e *
(share of KV in use) + g * (sequences), none of them below 0. They are fitted to the least
relative error, so that short iterations count as much as long ones.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Decode", "Measurements", "Prefill", "decode_of", "prefill_of"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """Points: prompt tokens and seconds to the first token alone; KV tokens in use, length of
    each context and seconds per token. Of a stage that is not measured there are none.

    The rest is what the engine can hold, as far as that is known.
    """

    prompt_tokens: Floats
    ttft_s: Floats
    active_kv_tokens: Floats
    context_tokens: Floats
    itl_s: Floats
    kv_tokens: int | None = None
    max_batched_tokens: int | None = None
    max_sequences: int | None = None
    block_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefill:
    """As in `PolynomialTiming`; the error is a root mean square, relative to the points."""

    prefill_s: tuple[float, ...]
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decode:
    """As in `PolynomialTiming`; the error is a root mean square, relative to the points."""

    decode_s: tuple[float, ...]
    decode_per_sequence_s: float
    error: float


def prefill_of(points: Measurements, *, max_batched_tokens: int) -> Prefill | None:
    """Prompts longer than an iteration are left out, where there are others enough.

    None if nothing is measured. Raises `ValueError` if there are too few points or numbers that
    no engine has.
    """
    if not points.prompt_tokens.size + points.ttft_s.size:
        return None
    tokens, ttft_s = _checked("prefill", points.prompt_tokens, points.ttft_s)
    short = tokens <= max_batched_tokens
    if np.count_nonzero(short) >= 3:
        tokens, ttft_s = tokens[short], ttft_s[short]
    weights, error = _fitted(np.stack([np.ones_like(tokens), tokens, tokens**2]), ttft_s)
    return Prefill(prefill_s=weights, error=error)


def decode_of(points: Measurements, *, kv_tokens: int) -> Decode | None:
    """None if nothing is measured. Raises `ValueError` as `prefill_of`."""
    if not points.active_kv_tokens.size + points.context_tokens.size + points.itl_s.size:
        return None
    active, context, itl_s = _checked(
        "decode", points.active_kv_tokens, points.context_tokens, points.itl_s
    )
    terms = np.stack([np.ones_like(active), active / kv_tokens, active / context])
    weights, error = _fitted(terms, itl_s)
    return Decode(decode_s=weights[:2], decode_per_sequence_s=weights[2], error=error)


def _checked(name: str, *columns: Floats) -> tuple[Floats, ...]:
    sizes = {column.size for column in columns}
    if len(sizes) != 1:
        raise ValueError(f"{name} columns differ in length: {sorted(sizes)}")
    if min(sizes) < 2:
        raise ValueError(f"{name} needs at least two points")
    if not all(np.all(np.isfinite(column) & (column > 0.0)) for column in columns):
        raise ValueError(f"{name} has numbers that are not finite and above 0")
    return columns


def _fitted(terms: Floats, seconds: Floats) -> tuple[tuple[float, ...], float]:
    """The weights >= 0 of the rows of `terms` with the least relative error, and that error.

    With so few terms every subset of them can be tried.
    """
    rows = (terms / seconds).T
    best, best_error = np.zeros(len(terms)), np.inf
    for number in range(1, len(terms) + 1):
        for chosen in map(list, combinations(range(len(terms)), number)):
            scale = np.abs(rows[:, chosen]).max(axis=0)
            found, *_ = np.linalg.lstsq(rows[:, chosen] / scale, np.ones(len(seconds)), rcond=None)
            weights = np.zeros(len(terms))
            weights[chosen] = found / scale
            error = float(np.sqrt(np.mean((rows @ weights - 1.0) ** 2)))
            if np.all(found >= 0.0) and error < best_error - 1e-12:
                best, best_error = weights, error
    return tuple(float(each) for each in best), best_error
