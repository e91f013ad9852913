"""What one replica of this pool serves of each class, at the size that its load needs.

A replica of a large pool carries more than one that is alone, for whoever finds it busy finds
another one free. The planner that shares out GPUs wants one number for a replica. So this is
the rate at the size `n` (not only a whole one) at which `n` replicas carry exactly the load that
is expected: a number of replicas is enough by that rate if and only if it is enough indeed. It
depends on the load, not on how many replicas there are, so that no answer moves the question.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from poolplanner.core.engine_fit import PRIOR_REL_STD
from poolplanner.core.load import ClassShape
from weir.domain.fleet import PoolSpec, RequestClass, Role, Statistic
from weir.domain.ids import ClassName
from weir.domain.profile import EngineProfile
from weir.sizing.capacity import replica_capacity_rps
from weir.sizing.queueing import Queue

__all__ = ["CapacityTable", "Traffic"]

_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024)
"""Sizes of pools at which rates are worked out; between them they are interpolated."""
_SPREAD_STEP = 0.25
_ELSE_REL_STD = 0.05
"""What else than the engines' pace head room is for, such as loads that replicas do not share."""
_GRID = math.log(1.05)
_FINE, _COARSE = 0.02, math.log(1.25)
_NEAR = 0.75
"""Steps by which a value may be off before it is rounded anew."""
_BISECTIONS = 12
_MOST_ENTRIES = 4096
_A_ROUND = 3
"""Rates that are worked out anew in a round, 0.1 to 0.8 ms each."""

_Key = tuple[ClassName, int, int, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What all requests of the pool have in common. None of `rate_rps`: `replicas` will do.

    `burstiness`: variance of arrivals over their mean. `cached_share` (0..1) of prompt tokens
    is in the prefix cache. `accept_length`: tokens per sequence and iteration.
    """

    rate_rps: float | None = None
    replicas: int = 1
    burstiness: float = 1.0
    cached_share: float = 0.0
    accept_length: float = 1.0


@dataclass(slots=True)
class CapacityTable:
    """Capacities at lengths rounded to a 5 % grid, each worked out once.

    Rounding also keeps the numbers, and what is decided from them, from trembling. `profile` is
    what engines do; the document's until something better is known (`measured`).

    Other engines and other targets count at once. What the load looks like moves slowly: then
    `_A_ROUND` rates are worked out anew each time that capacities are asked for, and until then
    the others are what they were.
    """

    spec: PoolSpec
    classes: Mapping[ClassName, RequestClass]
    utilization: float
    profile: EngineProfile = field(init=False)
    _planned: float = field(init=False)
    _traffic: Traffic = field(default_factory=Traffic)
    _queue: Queue = field(default_factory=Queue)
    _place: int = 0
    _known: dict[_Key, float | None] = field(default_factory=dict)
    _before: dict[tuple[ClassName, int | None], float | None] = field(default_factory=dict)
    _left: int = 0

    def __post_init__(self) -> None:
        self.profile = self.spec.profile
        self._planned = self.utilization

    def follow(self, classes: Mapping[ClassName, RequestClass]) -> None:
        """What classes are to meet from now on."""
        if classes != self.classes:
            self.classes = classes
            self._forget()

    def measured(self, profile: EngineProfile, rel_std: float) -> None:
        """From now on engines are like this, and that is known to within `rel_std`."""
        planned = _stepped(_planned(self.utilization, rel_std), self._planned, _FINE)
        if profile != self.profile or planned != self._planned:
            self.profile, self._planned = profile, planned
            self._forget()

    def capacity_rps(
        self, shapes: Mapping[ClassName, ClassShape], traffic: Traffic | None = None
    ) -> dict[ClassName, float]:
        """Requests/s by class at planned utilization; without the classes it cannot serve.

        For classes that nobody could serve in time nothing is planned.
        """
        traffic = traffic or Traffic()
        self._left = _A_ROUND
        self._see(traffic)
        able = {name: shapes[name] for name in self.full_rps(shapes)}
        served = {name: shape for name, shape in able.items() if not shape.hopeless}
        self._mix(served, traffic.burstiness)
        size, planned = float(max(1, traffic.replicas)), 1.0
        if traffic.rate_rps is not None:
            rate_rps = traffic.rate_rps * _part(served, able)
            size = self._size_for(served, rate_rps)
            busy = rate_rps * self._busy_s(served)
            if busy > size:
                size, planned = busy, self._needed(served, rate_rps, busy) / busy
        rates = {name: self._at(size, name, shape) for name, shape in served.items()}
        return {name: planned * rate for name, rate in rates.items() if rate is not None}

    def full_rps(self, shapes: Mapping[ClassName, ClassShape]) -> dict[ClassName, float]:
        """Requests/s by class of a replica that always has enough to do."""
        rates = {name: self._rate_rps(None, name, shape) for name, shape in shapes.items()}
        return {name: rate for name, rate in rates.items() if rate is not None}

    def mean_work(self, shapes: Mapping[ClassName, ClassShape]) -> tuple[float, float] | None:
        """Seconds of a fully used replica per request, and the sequences it then holds.

        Both are means over the classes it can serve; None if there are none.
        """
        full_rps = self.full_rps(shapes)
        total = sum(shapes[name].share for name in full_rps)
        if total <= 0.0:
            return None
        request_s = occupied = 0.0
        for name, rate_rps in full_rps.items():
            share = shapes[name].share / total
            in_system = rate_rps * shapes[name].osl_tokens * self.classes[name].slo.itl_s
            request_s += share / rate_rps
            occupied += share / max(1.0, in_system)
        return request_s, 1.0 / occupied

    def _forget(self) -> None:
        self._known.clear()
        self._before.clear()

    def _see(self, traffic: Traffic) -> None:
        """Take over what a replica's work depends on besides lengths, rounded."""
        known, cached_share = self._traffic, min(0.95, max(0.0, traffic.cached_share))
        rounded = Traffic(
            cached_share=_stepped(cached_share, known.cached_share, _FINE),
            accept_length=_stepped(max(1.0, traffic.accept_length), known.accept_length, _FINE),
        )
        if rounded != self._traffic:
            self._traffic = rounded
            self._known.clear()

    def _mix(self, served: Mapping[ClassName, ClassShape], burstiness: float) -> None:
        """Take over what all that wait in one line have in common, rounded.

        What a replica does that always has enough to do is the same.
        """
        mean, isl_spread, osl_spread = _moments(served)
        queue = Queue(
            burstiness=_geared(burstiness, self._queue.burstiness, _COARSE),
            isl_tokens=_geared(mean, self._queue.isl_tokens or 1.0, _GRID),
            isl_spread=_stepped(isl_spread, self._queue.isl_spread, _SPREAD_STEP),
            osl_spread=_stepped(osl_spread, self._queue.osl_spread, _SPREAD_STEP),
        )
        if queue != self._queue:
            self._queue = queue
            self._known = {key: rate for key, rate in self._known.items() if key[-1] is None}

    def _size_for(self, served: Mapping[ClassName, ClassShape], rate_rps: float) -> float:
        """The size at which the pool carries its load; the least of all that are large enough.

        Looked for from where it was the last time: loads move slowly.
        """

        def short(place: int) -> bool:
            return self._needed(served, rate_rps, _SIZES[place]) > _SIZES[place]

        while self._place < len(_SIZES) - 1 and short(self._place):
            self._place += 1
        while self._place > 0 and not short(self._place - 1):
            self._place -= 1
        return self._between(served, rate_rps)

    def _between(self, served: Mapping[ClassName, ClassShape], rate_rps: float) -> float:
        """The size within those about `_place`."""
        low, high = float(_SIZES[max(0, self._place - 1)]), float(_SIZES[self._place])
        first, length = low, max(1.0, high - low)
        rates = [
            (share, self._at(low, name, served[name]) or 0.0, high_rps)
            for name, share in _shares(served).items()
            if (high_rps := self._at(high, name, served[name]))
        ]
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            part = (middle - first) / length
            needed = sum(share / (less + (more - less) * part) for share, less, more in rates)
            low, high = (middle, high) if rate_rps * needed > middle else (low, middle)
        return high

    def _needed(
        self, served: Mapping[ClassName, ClassShape], rate_rps: float, size: float
    ) -> float:
        """Replicas that carry the load, each as it would in a pool of this size."""
        return rate_rps * sum(
            share / (self._at(size, name, served[name]) or math.inf)
            for name, share in _shares(served).items()
        )

    def _busy_s(self, served: Mapping[ClassName, ClassShape]) -> float:
        """Seconds of a replica that a request keeps busy, what is hopeless included.

        No head room is kept for that, but where there are fewer replicas it is never done.
        """
        full_rps, fresh = self.full_rps(served), 1.0 - self._traffic.cached_share
        busy_s = 0.0
        for name, share in _shares(served).items():
            shape, hopeless_s = served[name], 0.0
            if shape.hopeless_share > 0.0 and self.spec.role is not Role.DECODE:
                prompt_tokens = math.ceil(fresh * shape.hopeless_isl_tokens)
                hopeless_s = self.profile.idle_prefill_s(prompt_tokens)
            hopeful_s = (1.0 - shape.hopeless_share) / full_rps[name]
            busy_s += share * (hopeful_s + shape.hopeless_share * hopeless_s)
        return busy_s

    def _at(self, size: float, name: ClassName, shape: ClassShape) -> float | None:
        """The rate at a size of the pool, interpolated."""
        above = next((i for i, each in enumerate(_SIZES) if each >= size), len(_SIZES) - 1)
        high_rps = self._rate_rps(_SIZES[above], name, shape)
        if not above or high_rps is None or size >= _SIZES[above]:
            return high_rps
        low = _SIZES[above - 1]
        low_rps = self._rate_rps(low, name, shape) or 0.0
        return low_rps + (high_rps - low_rps) * (size - low) / (_SIZES[above] - low)

    def _rate_rps(self, size: int | None, name: ClassName, shape: ClassShape) -> float | None:
        """None of `size`: all of a replica's time, however long requests wait."""
        key = (name, _step(shape.isl_tokens), _step(shape.osl_tokens), size)
        if key in self._known:
            return self._known[key]
        if self._left <= 0 and (name, size) in self._before:
            return self._before[name, size]
        self._left -= 1
        if len(self._known) >= _MOST_ENTRIES:
            self._known.clear()
        slo, queue = self.classes[name].slo, replace(self._queue, replicas=float(size or 1))
        rate_rps = replica_capacity_rps(
            self.profile,
            self.spec.role,
            slo if size is not None else replace(slo, ttft_s=math.inf, statistic=Statistic.MEAN),
            math.exp(key[1] * _GRID),
            math.exp(key[2] * _GRID),
            utilization=self._planned if size is not None else 1.0,
            context_limit_tokens=self.spec.context_limit_tokens,
            queue=queue,
            cached_share=self._traffic.cached_share,
            accept_length=self._traffic.accept_length,
        )
        self._known[key] = self._before[name, size] = rate_rps
        return rate_rps


def _planned(utilization: float, rel_std: float) -> float:
    """The share of a replica's time to plan with, where less or more is known of the engines."""
    unsure = math.hypot(_ELSE_REL_STD, rel_std) / math.hypot(_ELSE_REL_STD, PRIOR_REL_STD)
    return 1.0 - (1.0 - utilization) * min(1.0, unsure)


def _shares(shapes: Mapping[ClassName, ClassShape]) -> dict[ClassName, float]:
    """Of requests, by class; they sum to 1."""
    total = sum(shape.share for shape in shapes.values())
    if total <= 0.0:
        return dict.fromkeys(shapes, 1.0 / max(1, len(shapes)))
    return {name: shape.share / total for name, shape in shapes.items()}


def _part(some: Mapping[ClassName, ClassShape], of: Mapping[ClassName, ClassShape]) -> float:
    """Their part of the requests."""
    total = sum(shape.share for shape in of.values())
    return sum(shape.share for shape in some.values()) / total if total > 0.0 else 1.0


def _moments(shapes: Mapping[ClassName, ClassShape]) -> tuple[float, float, float]:
    """Mean prompt of all classes and the spread of all prompts; that of outputs in a class."""
    mean = square = osl_spread = 0.0
    for name, share in _shares(shapes).items():
        shape = shapes[name]
        mean += share * shape.isl_tokens
        square += share * (1.0 + shape.isl_spread) * shape.isl_tokens**2
        osl_spread += share * shape.osl_spread
    return max(1.0, mean), max(0.0, square / max(1.0, mean * mean) - 1.0), osl_spread


def _stepped(value: float, known: float, step: float) -> float:
    """In steps, and what is known for as long as that is near enough: it is not to tremble."""
    return known if abs(value - known) <= _NEAR * step else step * round(value / step)


def _geared(value: float, known: float, log_step: float) -> float:
    """The same in steps of a factor."""
    log = math.log(max(1e-3, value))
    if abs(log - math.log(known)) <= _NEAR * log_step:
        return known
    return math.exp(log_step * round(log / log_step))


def _step(tokens: float) -> int:
    return round(math.log(max(1.0, tokens)) / _GRID)
