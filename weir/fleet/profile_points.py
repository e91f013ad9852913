"""Measured prefill and decode times -> the polynomials of a profile.

Iterations take what their weights, tokens and KV cost: prefill a + b * t + c * t², decode d + e *
(share of KV in use) + g * (sequences), none of them below 0. They are fitted to the least
relative error, so that short iterations count as much as long ones.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Measurements", "Polynomials", "polynomials_of"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """Points: prompt tokens and seconds to the first token alone; KV tokens in use, length of
    each context and seconds per token. `kv_tokens`: what the KV space holds, if that is known.
    """

    prompt_tokens: Floats
    ttft_s: Floats
    active_kv_tokens: Floats
    context_tokens: Floats
    itl_s: Floats
    kv_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Polynomials:
    """As in `PolynomialTiming`; the errors are root mean squares, relative to the points."""

    prefill_s: tuple[float, ...]
    decode_s: tuple[float, ...]
    decode_per_sequence_s: float
    prefill_error: float
    decode_error: float


def polynomials_of(points: Measurements, *, kv_tokens: int, max_batched_tokens: int) -> Polynomials:
    """Prompts longer than an iteration are left out, where there are others enough.

    Raises `ValueError` if there are too few points or numbers that no engine has.
    """
    tokens, ttft_s = _checked("prefill", points.prompt_tokens, points.ttft_s)
    short = tokens <= max_batched_tokens
    if np.count_nonzero(short) >= 3:
        tokens, ttft_s = tokens[short], ttft_s[short]
    prefill, prefill_error = _fitted(np.stack([np.ones_like(tokens), tokens, tokens**2]), ttft_s)
    active, context, itl_s = _checked(
        "decode", points.active_kv_tokens, points.context_tokens, points.itl_s
    )
    terms = np.stack([np.ones_like(active), active / kv_tokens, active / context])
    decode, decode_error = _fitted(terms, itl_s)
    return Polynomials(
        prefill_s=prefill,
        decode_s=decode[:2],
        decode_per_sequence_s=decode[2],
        prefill_error=prefill_error,
        decode_error=decode_error,
    )


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
