"""A timing that is scaled and has terms added, as a timing of the same kind."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from weir.domain.profile import PolynomialTiming, TableTiming, Timing

__all__ = ["Corrections", "bounded_scale"]

_LEAST_SCALE, _MOST_SCALE = 0.05, 20.0
_LEAST_S = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """Scale, then seconds per iteration, per token or sequence, and at full KV."""

    prefill: tuple[float, float, float]
    decode: tuple[float, float, float, float]

    def on(self, timing: Timing) -> Timing:
        if isinstance(timing, PolynomialTiming):
            return self._polynomial(timing)
        return self._table(timing)

    def _polynomial(self, timing: PolynomialTiming) -> PolynomialTiming:
        scale, fixed_s, token_s = self.prefill
        decode_scale, decode_fixed_s, sequence_s, kv_s = self.decode
        per_sequence_s = decode_scale * timing.decode_per_sequence_s + sequence_s
        return replace(
            timing,
            prefill_s=_added(timing.prefill_s, scale, (fixed_s, token_s)),
            decode_s=_added(timing.decode_s, decode_scale, (decode_fixed_s, kv_s)),
            decode_per_sequence_s=max(0.0, per_sequence_s),
            decode_min_s=decode_scale * timing.decode_min_s,
        )

    def _table(self, timing: TableTiming) -> TableTiming:
        scale, fixed_s, token_s = self.prefill
        decode_scale, decode_fixed_s, sequence_s, _ = self.decode
        return replace(
            timing,
            prefill=tuple(
                (x, max(_LEAST_S, scale * y + fixed_s + token_s * x)) for x, y in timing.prefill
            ),
            decode=tuple(
                (x, max(_LEAST_S, decode_scale * y + decode_fixed_s + sequence_s * x))
                for x, y in timing.decode
            ),
        )


def _added(
    coefficients: Sequence[float], scale: float, more: tuple[float, float]
) -> tuple[float, ...]:
    """A polynomial scaled and with more in its first terms; what was not below 0 stays so."""
    padded = [*coefficients, *(0.0 for _ in range(2 - len(coefficients)))]
    terms = [scale * each for each in padded]
    for i, extra in enumerate(more):
        term = terms[i] + extra
        terms[i] = max(0.0, term) if padded[i] >= 0.0 else term
    return tuple(terms)


def bounded_scale(scale: float) -> float:
    return min(_MOST_SCALE, max(_LEAST_SCALE, scale))
