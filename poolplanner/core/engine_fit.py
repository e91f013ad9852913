"""How fast this pool's engines really are: their profile, corrected by what they do.

The time that engines spend in iterations is a sum over what was in them, so that the sums of a
window are enough: `busy = scale * (time by the profile) + fixed per iteration + per token`, for
prefill and for decoding. The profile is the prior (scales 1, the rest 0), all of it uncertain,
above all the speed of the hardware as a whole. Each round adds some measurements over groups of
workers, as a Kalman filter does: the estimate holds while nothing is measured and its
uncertainty goes back to the prior's with `_FADE_S`, as hardware may be replaced.

One odd worker among several is left out, one odd round is clipped. Surprises that add up in one
direction (cumulative sum of Page, Biometrika 41, 1954) are other hardware: the uncertainty is
then that of the prior and more, and the next measurements decide.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from numpy.typing import NDArray

from poolplanner.core.engine_work import FEATURES, Basis, Work, works
from weir.domain.profile import EngineProfile
from weir.domain.telemetry import ForwardPassSample

__all__ = ["PRIOR_REL_STD", "EngineFit"]

PRIOR_REL_STD = 0.2
"""How far a profile that nobody has checked against the engine is off, as a share."""

_COMMON_STD, _OWN_STD, _TERM_STD = 0.17, 0.1, 0.03
_FADE_S = 3600.0
_MISFIT = 0.03
"""A worker's iterations as a share, beside what the model says: no two replicas are the same."""
_LEAST_STD = 0.01
_CLIP, _SLACK, _JUMP = 3.0, 1.0, 4.0
_WIDENED = 9.0
_ODD = 0.35
_GROUPS = 4
_NOTABLE = 0.015

_Floats = NDArray[np.float64]
_Row = tuple[Work, list[float]]


@dataclass(slots=True)
class EngineFit:
    """One pool's engines. `learn` what they did, then ask for `profile` and `rel_std`."""

    basis: Basis
    at_s: float | None = None
    drift: float = 0.0
    jumps: int = 0
    _mean: _Floats = field(init=False)
    _covar: _Floats = field(init=False)
    _prior_covar: _Floats = field(init=False)
    _least: list[float] = field(init=False)
    _told: EngineProfile | None = None

    def __post_init__(self) -> None:
        self._prior_covar = _prior_covar()
        self._least = self.basis.least
        self._mean = np.array([1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
        self._covar = self._prior_covar.copy()

    def learn(self, samples: Iterable[ForwardPassSample], now_s: float) -> bool:
        """Take in what warm engines did lately; False if it says nothing about their pace."""
        self._fade(now_s)
        rows = [(work, self.basis.features(work)) for work in works(samples)]
        rows = self._usual([(work, row) for work, row in rows if sum(row) > 0.0])
        if not rows:
            return False
        if self._jumped(self._surprise(_Measure.of(rows))[0]):
            self._covar = _WIDENED * self._prior_covar
        for group in _groups(rows):
            self._update(_Measure.of(group))
        return True

    @property
    def profile(self) -> EngineProfile:
        """What engines do by all that is known; the same until it differs by `_NOTABLE`."""
        found = self.basis.corrected(self._mean.tolist())
        if self._told is None or self.basis.differ(found, self._told) > _NOTABLE:
            self._told = found
        return self._told

    @property
    def rel_std(self) -> float:
        """How far the time of full iterations may be off, as a share."""
        row = np.array(self.basis.full)
        mean_s = float(row @ self._mean)
        if mean_s <= 0.0:
            return PRIOR_REL_STD
        std = math.sqrt(max(0.0, float(row @ self._covar @ row))) / mean_s
        return math.sqrt(std * std + _LEAST_STD * _LEAST_STD)

    def _fade(self, now_s: float) -> None:
        elapsed_s = max(0.0, now_s - self.at_s) if self.at_s is not None else 0.0
        self.at_s = now_s
        keep = math.exp(-2.0 * elapsed_s / _FADE_S)
        self._covar = keep * self._covar + (1.0 - keep) * self._prior_covar

    def _usual(self, rows: list[_Row]) -> list[_Row]:
        """Those workers whose pace is about that of most; all if there are too few to tell."""
        if len(rows) < 3:
            return rows
        mean = self._mean.tolist()
        paces = [
            math.log(work.busy_s / max(1e-9, sum(map(float.__mul__, row, mean))))
            for work, row in rows
        ]
        middle = median(paces)
        return [each for each, pace in zip(rows, paces, strict=True) if abs(pace - middle) <= _ODD]

    def _surprise(self, measure: "_Measure") -> tuple[float, float, _Floats]:
        """How far busy time is from what was expected, in standard deviations, clipped.

        With it one of these, and how each weight varies with the measurement.
        """
        varies: _Floats = self._covar @ measure.row
        std = math.sqrt(float(measure.row @ varies) + measure.noise)
        surprise = (measure.busy_s - float(measure.row @ self._mean)) / std
        return min(_CLIP, max(-_CLIP, surprise)), std, varies

    def _update(self, measure: "_Measure") -> None:
        surprise, std, varies = self._surprise(measure)
        self._mean = self._mean + varies * (surprise / std)
        self._covar = self._covar - np.outer(varies, varies) / (std * std)
        self._hold_above_least()

    def _hold_above_least(self) -> None:
        """No term takes away more than there is; the others make up for it as they are likely."""
        weights = self._mean.tolist()
        for i, least in enumerate(self._least):
            bound = least * max(0.0, weights[0 if i < 3 else 3]) if i % 3 else least
            if weights[i] < bound:
                self._mean = self._mean + self._covar[:, i] / self._covar[i, i] * (
                    bound - weights[i]
                )
                weights = self._mean.tolist()

    def _jumped(self, surprise: float) -> bool:
        """Whether surprises have added up in one direction; begins anew then."""
        if surprise >= 0.0:
            self.drift = max(0.0, max(0.0, self.drift) + surprise - _SLACK)
        else:
            self.drift = min(0.0, min(0.0, self.drift) + surprise + _SLACK)
        if abs(self.drift) <= _JUMP:
            return False
        self.drift = 0.0
        self.jumps += 1
        return True


@dataclass(frozen=True, slots=True)
class _Measure:
    """Sums over some workers: terms, busy time and its variance beside the model."""

    row: _Floats
    busy_s: float
    noise: float

    @classmethod
    def of(cls, rows: Sequence[_Row]) -> "_Measure":
        return cls(
            np.array([sum(column) for column in zip(*(row for _, row in rows), strict=True)]),
            sum(work.busy_s for work, _ in rows),
            sum((_MISFIT * work.busy_s) ** 2 for work, _ in rows),
        )


def _groups(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    """Workers whose iterations are alike, together: so they tell what makes them differ."""
    ordered = sorted(rows, key=lambda each: each[0].busy_s / each[0].iterations)
    number = min(_GROUPS, len(ordered))
    for i in range(number):
        yield ordered[len(ordered) * i // number : len(ordered) * (i + 1) // number]


def _prior_covar() -> _Floats:
    covar = np.diag([_TERM_STD**2] * FEATURES)
    for i in (0, 3):
        covar[i, i] = _OWN_STD**2 + _COMMON_STD**2
    covar[0, 3] = covar[3, 0] = _COMMON_STD**2
    return covar
