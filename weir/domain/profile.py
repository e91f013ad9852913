"""What one replica can do: timing, KV space and batch limits, as frozen numbers.

`PolynomialTiming` has the two polynomials of the Dynamo mocker as defaults, with an
added term for the number of sequences; `TableTiming` interpolates measured points.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import Any, NamedTuple

__all__ = [
    "DecodeCourse",
    "EngineProfile",
    "KvTier",
    "PolynomialTiming",
    "TableTiming",
    "Timing",
    "profile_from_mapping",
]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


class DecodeCourse(NamedTuple):
    """Seconds of decoding of iterations k = 0, 1, ... in which the context grows steadily:

    `first_s + k * slope_s + k * k * square_s`, for all k < `iterations`. Of iteration 0 this is
    exactly the decode time; of the later ones it is that but for rounding.
    """

    first_s: float
    slope_s: float = 0.0
    square_s: float = 0.0
    iterations: float = inf


@dataclass(frozen=True, slots=True, kw_only=True)
class PolynomialTiming:
    """Seconds of one iteration from polynomials, coefficients in ascending power.

    prefill: over new prompt tokens in the iteration. decode: over the share of KV in use
    (0..1), plus `decode_per_sequence_s` for each decoding sequence.
    """

    prefill_s: tuple[float, ...] = (16.50142e-3, 1.518344e-5, 4.209989e-10)
    decode_s: tuple[float, ...] = (5.74e-3, 54.01e-3, -25.74e-3)
    decode_per_sequence_s: float = 0.0
    decode_min_s: float = 1e-3

    def __post_init__(self) -> None:
        _require(len(self.prefill_s) > 0 and len(self.decode_s) > 0, "a polynomial needs terms")
        _require(self.decode_per_sequence_s >= 0.0, "decode_per_sequence_s must be >= 0")
        _require(self.decode_min_s > 0.0, "decode_min_s must be > 0")

    def prefill_time_s(self, tokens: int) -> float:
        """Seconds that `tokens` new prompt tokens add to an iteration; 0 for none."""
        return max(0.0, _polynomial(self.prefill_s, float(tokens))) if tokens else 0.0

    def decode_time_s(self, sequences: int, kv_share: float) -> float:
        """Seconds that `sequences` decoding sequences add at KV use `kv_share` (0..1)."""
        if not sequences:
            return 0.0
        time_s = _polynomial(self.decode_s, kv_share if kv_share < 1.0 else 1.0)
        time_s += self.decode_per_sequence_s * sequences
        return time_s if time_s > self.decode_min_s else self.decode_min_s

    @property
    def decode_follows_kv(self) -> bool:
        """Whether decoding takes longer or shorter with more KV in use."""
        return any(self.decode_s[1:])

    def decode_course(self, sequences: int, kv_share: float, growth: float) -> DecodeCourse:
        """The decode times from `kv_share` on, which grows by `growth` in each iteration.

        One polynomial describes them while neither clamp of `decode_time_s` binds. The share
        reaches 1 in a known iteration, and from there on the time is constant. Whether
        `decode_min_s` might bind is told by the least Bernstein coefficient on [0, 1], which is
        a lower bound. If it might, or the degree is above two, the course is of one iteration.
        """
        first_s = self.decode_time_s(sequences, kv_share)
        if kv_share >= 1.0:
            return DecodeCourse(first_s)
        if len(self.decode_s) > 3:
            return DecodeCourse(first_s, iterations=1)
        c0, c1, c2 = (*self.decode_s, 0.0, 0.0)[:3]
        least_s = min(c0, c0 + c1 / 2.0, c0 + c1 + c2) + self.decode_per_sequence_s * sequences
        if least_s < self.decode_min_s:
            return DecodeCourse(first_s, iterations=1)
        slope_s = (c1 + 2.0 * c2 * kv_share) * growth
        return DecodeCourse(first_s, slope_s, c2 * growth * growth)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableTiming:
    """Seconds of one iteration from measured points, linear between and beyond them.

    `prefill`: (tokens, seconds) ascending in tokens. `decode`: (sequences, seconds)
    ascending in sequences.
    """

    prefill: tuple[tuple[float, float], ...]
    decode: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        for name, points in (("prefill", self.prefill), ("decode", self.decode)):
            _require(len(points) >= 2, f"{name} needs at least two points")
            xs = [x for x, _ in points]
            _require(all(a < b for a, b in pairwise(xs)), f"{name} must ascend")
            _require(all(y > 0.0 for _, y in points), f"{name} seconds must be > 0")

    def prefill_time_s(self, tokens: int) -> float:
        return _interpolate(self.prefill, float(tokens)) if tokens else 0.0

    def decode_time_s(self, sequences: int, kv_share: float) -> float:
        return _interpolate(self.decode, float(sequences)) if sequences else 0.0

    @property
    def decode_follows_kv(self) -> bool:
        return False

    def decode_course(self, sequences: int, kv_share: float, growth: float) -> DecodeCourse:
        return DecodeCourse(self.decode_time_s(sequences, kv_share))


Timing = PolynomialTiming | TableTiming


@dataclass(frozen=True, slots=True, kw_only=True)
class KvTier:
    """Holds the KV of so many prompt tokens, which come back at this speed."""

    tokens: int
    tokens_per_s: float

    def __post_init__(self) -> None:
        _require(self.tokens >= 1, "tokens of a KV tier must be >= 1")
        _require(self.tokens_per_s > 0.0, "tokens_per_s of a KV tier must be > 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProfile:
    """One replica as the engine model, the planners and the router's predictions see it.

    `kv_transfer_tokens_per_s` is the speed at which a decode replica pulls a prompt's KV
    from a prefill replica. `speed` multiplies every rate (2.0 halves every duration). `kv_tiers`
    hold prompts' KV beside the KV space, such as host memory; what decodes must be in the space.
    """

    timing: Timing = field(default_factory=PolynomialTiming)
    kv_tokens: int = 262_144
    block_tokens: int = 16
    max_sequences: int = 256
    max_batched_tokens: int = 8192
    chunked_prefill: bool = True
    prefix_caching: bool = True
    kv_transfer_tokens_per_s: float = 1_000_000.0
    speed: float = 1.0
    kv_tiers: tuple[KvTier, ...] = ()

    def __post_init__(self) -> None:
        for name in ("kv_tokens", "block_tokens", "max_sequences", "max_batched_tokens"):
            _require(getattr(self, name) >= 1, f"{name} must be >= 1")
        _require(self.kv_tokens >= self.block_tokens, "kv_tokens must hold at least one block")
        _require(self.kv_transfer_tokens_per_s > 0.0, "kv_transfer_tokens_per_s must be > 0")
        _require(self.speed > 0.0, "speed must be > 0")

    @property
    def kv_blocks(self) -> int:
        return self.kv_tokens // self.block_tokens

    def iteration_s(self, *, prefill_tokens: int, sequences: int, kv_used_tokens: int) -> float:
        """Seconds of one iteration that prefills and decodes this much together."""
        share = kv_used_tokens / self.kv_tokens
        time_s = self.timing.prefill_time_s(prefill_tokens)
        time_s += self.timing.decode_time_s(sequences, share)
        return time_s / self.speed

    def decode_only_s(self, sequences: int, kv_used_tokens: int) -> float:
        """`iteration_s` without any prompt."""
        return self.timing.decode_time_s(sequences, kv_used_tokens / self.kv_tokens) / self.speed

    def decode_course(self, *, sequences: int, kv_used_tokens: int) -> DecodeCourse:
        """Times of iterations that only decode, a token more for each sequence in each.

        That of the first is `iteration_s`.
        """
        share, growth = kv_used_tokens / self.kv_tokens, sequences / self.kv_tokens
        course = self.timing.decode_course(sequences, share, growth)
        iterations = course.iterations
        if course.slope_s or course.square_s:
            iterations = (self.kv_tokens - kv_used_tokens) // sequences + 1
        return DecodeCourse(
            course.first_s / self.speed,
            course.slope_s / self.speed,
            course.square_s / self.speed,
            iterations,
        )

    def idle_prefill_s(self, isl_tokens: int) -> float:
        """Seconds from arrival to first token on an idle replica for a prompt of this length."""
        tokens = max(1, isl_tokens)
        chunk = self.max_batched_tokens if self.chunked_prefill else tokens
        if tokens <= chunk:
            return self._prefill_only_s(tokens)
        whole, rest = divmod(tokens, chunk)
        total_s = whole * self._prefill_only_s(chunk)
        return total_s + self._prefill_only_s(rest) if rest else total_s

    def kv_transfer_s(self, isl_tokens: int) -> float:
        """Seconds in which this replica, decoding, pulls the KV of a prompt of this length."""
        return isl_tokens / (self.kv_transfer_tokens_per_s * self.speed)

    def kv_reload_s(self, cached_tokens: float) -> float:
        """Seconds until so much of a prompt is back that is cached, in the mean.

        It is taken to be found in the KV space and in the tiers as they are large.
        """
        total = self.kv_tokens + sum(tier.tokens for tier in self.kv_tiers)
        token_s = sum(tier.tokens / tier.tokens_per_s for tier in self.kv_tiers) / total
        return cached_tokens * token_s / self.speed

    def _prefill_only_s(self, tokens: int) -> float:
        return self.timing.prefill_time_s(tokens) / self.speed


def profile_from_mapping(data: Mapping[str, Any]) -> EngineProfile:
    """Build a profile from plain data (`timing` has `kind: polynomial | table`).

    Raises `ValueError` naming the field that is unknown or out of range.
    """
    fields = dict(data)
    timing_data = dict(fields.pop("timing", {"kind": "polynomial"}))
    kind = timing_data.pop("kind", "polynomial")
    kinds: dict[str, type[PolynomialTiming] | type[TableTiming]] = {
        "polynomial": PolynomialTiming,
        "table": TableTiming,
    }
    if kind not in kinds:
        raise ValueError(f"timing.kind must be one of {sorted(kinds)}, not {kind!r}")
    try:
        timing = kinds[kind](**{name: _frozen(value) for name, value in timing_data.items()})
        tiers = tuple(KvTier(**tier) for tier in fields.pop("kv_tiers", ()))
        return EngineProfile(timing=timing, kv_tiers=tiers, **fields)
    except TypeError as error:
        raise ValueError(f"profile: {error}") from None


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value


def _polynomial(coefficients: Sequence[float], x: float) -> float:
    total = 0.0
    for coefficient in reversed(coefficients):
        total = total * x + coefficient
    return total


def _interpolate(points: Sequence[tuple[float, float]], x: float) -> float:
    right = min(max(bisect_right([px for px, _ in points], x), 1), len(points) - 1)
    (x0, y0), (x1, y1) = points[right - 1], points[right]
    return max(1e-6, y0 + (y1 - y0) * (x - x0) / (x1 - x0))
