"""What iterations did, as terms whose weights say how fast an engine is.

Terms are seconds that the profile would have taken: prefill and decode as it says, and for each
of them a share of a full iteration per iteration, per token (sequence) and per KV in use. A
corrected profile is again a profile, with the same kind of timing.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import add
from typing import NamedTuple

from poolplanner.core.corrections import Corrections, bounded_scale
from weir.domain.fleet import Role
from weir.domain.ids import WorkerId
from weir.domain.profile import EngineProfile, PolynomialTiming
from weir.domain.telemetry import ForwardPassSample

__all__ = ["FEATURES", "Basis", "Work", "works"]

FEATURES = 7
_LONGEST_S = 3600.0
"""No sample covers more time."""


class Work(NamedTuple):
    """Sums over `iterations`, of which `prefill_iterations` had prompt tokens.

    `decode_tokens` counts the sequences of each, `context_tokens` the KV that they read.
    """

    iterations: int
    prefill_iterations: int
    busy_s: float
    prefill_tokens: int
    decode_tokens: int
    context_tokens: int


def works(samples: Iterable[ForwardPassSample]) -> list[Work]:
    """The sums of these samples for each worker that had work; nobody who cannot tell."""
    sums: dict[WorkerId, Work] = {}
    for sample in samples:
        work = _work(sample)
        if work is not None:
            known = sums.get(sample.worker_id)
            sums[sample.worker_id] = work if known is None else Work(*map(add, known, work))
    return list(sums.values())


def _work(sample: ForwardPassSample) -> Work | None:
    """None if the sample says nothing about an engine's pace.

    Where it is not told how many iterations had prompt tokens, those without sequences had.
    """
    iterations, busy_s = sample.iterations, sample.busy_s
    prefill, decode = sample.prefill_tokens, sample.decode_tokens
    if not iterations or not busy_s or prefill is None or decode is None or prefill + decode <= 0:
        return None
    if not 0.0 < busy_s <= _LONGEST_S:
        return None
    prefills = sample.prefill_iterations
    if prefills is None:
        prefills = min(iterations, prefill) if not decode else 0
    context_tokens = (sample.kv_used_tokens or 0) * iterations
    return Work(iterations, prefills, busy_s, prefill, decode, context_tokens)


class Basis:
    """One profile's terms. `itl_s`: how long an iteration that decodes may take."""

    def __init__(self, profile: EngineProfile, role: Role, itl_s: float) -> None:
        self.profile = profile
        self._prefills, self._decodes = role is not Role.DECODE, role is not Role.PREFILL
        self._full_tokens = profile.max_batched_tokens
        self._full_sequences = _most_within(profile, itl_s)
        self._prefill_s = self._prefill(self._full_tokens)
        self._decode_s = self._decode(self._full_sequences, 0.5)
        self.full = self.features(
            Work(
                iterations=1,
                prefill_iterations=int(self._prefills),
                busy_s=1.0,
                prefill_tokens=(self._prefills * self._full_tokens) // (1 + self._decodes),
                decode_tokens=self._full_sequences if self._decodes else 0,
                context_tokens=profile.kv_tokens // 2,
            )
        )

    @property
    def least(self) -> list[float]:
        """Weights at which a term has taken away all that the profile has of it, by term."""
        timing = self.profile.timing
        if not isinstance(timing, PolynomialTiming):
            return [0.0, *(2 * [-math.inf]), 0.0, *(3 * [-math.inf])]
        prefill_s, decode_s = (
            self._prefill_s * self.profile.speed,
            self._decode_s * self.profile.speed,
        )
        fixed_s, token_s = (*timing.prefill_s, 0.0)[:2]
        decode_fixed_s, kv_s = (*timing.decode_s, 0.0)[:2]
        return [
            0.0,
            -max(0.0, fixed_s) / prefill_s,
            -max(0.0, token_s) * self._full_tokens / prefill_s,
            0.0,
            -max(0.0, decode_fixed_s) / decode_s,
            -timing.decode_per_sequence_s * self._full_sequences / decode_s,
            -max(0.0, kv_s) / decode_s,
        ]

    def features(self, work: Work) -> list[float]:
        """Terms of all that was done; prefill at the mean size of its iterations."""
        row = [0.0] * FEATURES
        prefills = work.prefill_iterations
        if work.prefill_tokens:
            prefills = prefills or max(1, round(work.prefill_tokens / self._full_tokens))
            row[0] = prefills * self._prefill(max(1, round(work.prefill_tokens / prefills)))
            row[1] = prefills * self._prefill_s
            row[2] = work.prefill_tokens / self._full_tokens * self._prefill_s
        if work.decode_tokens:
            number = min(work.iterations, work.decode_tokens)
            share = work.context_tokens / (number * self.profile.kv_tokens)
            low = work.decode_tokens // number
            part = work.decode_tokens / number - low
            time_s = self._decode(low, share)
            if part > 0.0:
                time_s += part * (self._decode(low + 1, share) - time_s)
            row[3] = number * time_s
            row[4] = number * self._decode_s
            row[5] = work.decode_tokens / self._full_sequences * self._decode_s
            if self.profile.timing.decode_follows_kv:
                row[6] = number * min(1.0, share) * self._decode_s
        return row

    def corrected(self, weights: Sequence[float]) -> EngineProfile:
        """The profile with these weights of its terms."""
        scale, fixed, token, decode_scale, decode_fixed, sequence, kv = weights
        prefill_s, decode_s = (
            self._prefill_s * self.profile.speed,
            self._decode_s * self.profile.speed,
        )
        terms = Corrections(
            prefill=(
                bounded_scale(scale),
                fixed * prefill_s,
                token * prefill_s / self._full_tokens,
            ),
            decode=(
                bounded_scale(decode_scale),
                decode_fixed * decode_s,
                sequence * decode_s / self._full_sequences,
                kv * decode_s,
            ),
        )
        return replace(self.profile, timing=terms.on(self.profile.timing))

    def differ(self, one: EngineProfile, other: EngineProfile) -> float:
        """By how much iterations take longer or shorter at most, as a share."""
        most = 0.0
        for part in (0.25, 1.0):
            tokens = max(1, round(part * self._full_tokens)) if self._prefills else 0
            sequences = max(1, round(part * self._full_sequences)) if self._decodes else 0
            for times in (
                [each.timing.prefill_time_s(tokens) / each.speed for each in (one, other)],
                [each.timing.decode_time_s(sequences, part) / each.speed for each in (one, other)],
            ):
                if min(times) > 0.0:
                    most = max(most, max(times) / min(times) - 1.0)
        return most

    def _prefill(self, tokens: int) -> float:
        return self.profile.timing.prefill_time_s(tokens) / self.profile.speed

    def _decode(self, sequences: int, share: float) -> float:
        return self.profile.timing.decode_time_s(sequences, share) / self.profile.speed


def _most_within(profile: EngineProfile, itl_s: float) -> int:
    """Sequences that decode together within `itl_s` with half of the KV in use; at least one."""
    low, high = 1, profile.max_sequences
    while low < high:
        middle = (low + high + 1) // 2
        time_s = profile.timing.decode_time_s(middle, 0.5) / profile.speed
        low, high = (middle, high) if time_s <= itl_s else (low, middle - 1)
    return low
