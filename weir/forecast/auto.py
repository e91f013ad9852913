"""Several predictors of one series that speak together, the better ones louder.

A rolling back-test that never ends: at every sample each candidate forecasts, as it would have
been asked to, and when the measurement comes, its corrected forecast is charged the pinball
loss. Per distance ahead, the candidates' quantiles are averaged with weights that fall steeply
with the remembered loss. The pinball loss is convex, so this never loses more than the worst
of them; and where two are about as good, their mean is better than either.
"""

import math
import operator
from collections.abc import Iterable, Mapping, Sequence

from weir.forecast.calibration import Record, stride
from weir.forecast.outlook import Outlook
from weir.forecast.predictor import Predictor
from weir.forecast.samples import Sample

__all__ = ["AHEAD_S", "PRICED_LEVELS", "Auto"]

AHEAD_S = (60.0, 180.0, 600.0)
PRICED_LEVELS = (0.5, 0.9)
_STEEPNESS = 40.0
"""A tenth more loss leaves a fiftieth of the weight."""
_LEAST_WEIGHT = 0.02
"""Whose weight beside the best one's is less is not asked."""
_FEW = 5
"""Measurements before a candidate's loss says anything."""


class Auto:
    """A predictor made of predictors; while none has a record, they count alike.

    `ahead_s`: the distances at which they are judged and corrected; what lies between is
    treated like the nearest. `levels`: the quantiles that count.
    """

    def __init__(
        self,
        candidates: Mapping[str, Predictor],
        *,
        ahead_s: Sequence[float] = AHEAD_S,
        levels: Sequence[float] = PRICED_LEVELS,
    ) -> None:
        self.candidates = dict(candidates)
        self._ahead_s = sorted(ahead_s)
        self._records = {
            name: [Record(each_s, levels) for each_s in self._ahead_s] for name in candidates
        }
        self._own = [Record(each_s, levels, kept=0) for each_s in self._ahead_s]
        self._count = 0
        self._last_s: float | None = None

    def observe(self, sample: Sample) -> None:
        for record in self._own:
            record.observe(sample)
        for name, candidate in self.candidates.items():
            for record in self._records[name]:
                record.observe(sample)
            candidate.observe(sample)
        self._last_s = sample.at_s
        self._count += 1
        for place, ahead_s in enumerate(self._ahead_s):
            if self._count % stride(ahead_s, sample.window_s) == 0:
                self._expect(place, sample)

    def predict(self, at_s: float, window_s: float) -> Outlook | None:
        """As the candidates say, weighted by their records at the nearest distance."""
        if self._last_s is None:
            return None
        place = self._place(at_s - self._last_s)
        weights = self._weights(place)
        heard = [name for name, weight in weights.items() if weight > 0.0]
        said = self._say(heard, at_s, window_s, place)
        return _pooled(said or self._say(self.candidates, at_s, window_s, place), weights)

    def chosen(self, ahead_s: float) -> str:
        """Who speaks loudest at this distance; before there are records, the preferred one."""
        standing = self._standing(self._place(ahead_s))
        return min(standing, key=standing.__getitem__)

    def coverage(self, ahead_s: float) -> float | None:
        """Share of the late measurements inside the 90 % band that was issued for them."""
        return self._own[self._place(ahead_s)].coverage

    def losses(self, ahead_s: float) -> dict[str, float | None]:
        """The remembered loss of each candidate."""
        place = self._place(ahead_s)
        return {name: records[place].loss for name, records in self._records.items()}

    def _expect(self, place: int, sample: Sample) -> None:
        due_s = sample.at_s + self._ahead_s[place]
        said: dict[str, Outlook] = {}
        for name, candidate in self.candidates.items():
            raw = candidate.predict(due_s, sample.window_s)
            if raw is None:
                continue
            record = self._records[name][place]
            said[name] = record.corrected(raw)
            record.expect(raw, said[name], due_s)
        pooled = _pooled(said, self._weights(place))
        if pooled is not None:
            self._own[place].expect(pooled, pooled, due_s)

    def _say(
        self, names: Iterable[str], at_s: float, window_s: float, place: int
    ) -> dict[str, Outlook]:
        raw = {name: self.candidates[name].predict(at_s, window_s) for name in names}
        return {
            name: self._records[name][place].corrected(outlook)
            for name, outlook in raw.items()
            if outlook is not None
        }

    def _place(self, ahead_s: float) -> int:
        distances = [abs(each_s - ahead_s) for each_s in self._ahead_s]
        return distances.index(min(distances))

    def _weights(self, place: int) -> dict[str, float]:
        standing = self._standing(place)
        best = min(standing.values())
        if math.isinf(best):
            return dict.fromkeys(standing, 1.0)
        weights = {
            name: (best / loss) ** _STEEPNESS if loss > 0.0 else 1.0
            for name, loss in standing.items()
        }
        return {
            name: weight if weight >= _LEAST_WEIGHT else 0.0 for name, weight in weights.items()
        }

    def _standing(self, place: int) -> dict[str, float]:
        return {name: records[place].standing(_FEW) for name, records in self._records.items()}


def _pooled(said: Mapping[str, Outlook], weights: Mapping[str, float]) -> Outlook | None:
    """The weighted mean of what those say who count; if none of them does, the first one's."""
    total = sum(weights[name] for name in said)
    if total <= 0.0:
        return next(iter(said.values()), None)
    shares = [weights[name] / total for name in said]
    columns = zip(*(outlook.values for outlook in said.values()), strict=True)
    return Outlook.of([sum(map(operator.mul, shares, column)) for column in columns])
