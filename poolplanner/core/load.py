"""What the pool's requests look like and how many will come, by class.

Routers count a pool's arrivals in total and a class's over all pools. So the split by class is
an estimate: among the classes that this pool can serve, as the fleet's requests are split. The
GlobalPlanner has every class's exact offered load; this is its view of the pool.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from poolplanner.core.observation import ClassTotals, Moments
from weir.domain.fleet import RequestClass, TokenRange
from weir.domain.ids import ClassName
from weir.domain.planning import ClassLoad
from weir.forecast.trend import Forecast
from weir.sizing.outputs import Outputs

__all__ = ["ClassShape", "class_loads", "class_shapes"]

HIGH_QUANTILE = 0.9
_PRIOR_REQUESTS = 10.0
"""The prior lengths weigh as much as this many requests."""
_SPREAD_PRIOR = 1.5
"""Squared coefficient of variation of lengths within a class, as in most public traces."""
_ALL, _SURE = 0.95, 20
"""A class is hopeless if this share of its requests are, and so many have been seen."""
_PRIOR_SPREAD_REQUESTS = 50.0
"""Squares take more requests to be known than means do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassShape:
    """Lengths of a class and its share (0..1) of the fleet's requests.

    Means, and their squared coefficients of variation as spreads. Prompts that even an idle
    engine would answer too late are not among these: they are `hopeless_share` (0..1) of the
    class's requests, `hopeless_isl_tokens` in the mean. No replica gets them to be in time; they
    are work for whenever there is time. `hopeless`: as good as all requests of the class are.
    """

    isl_tokens: float
    osl_tokens: float
    share: float
    isl_spread: float = _SPREAD_PRIOR
    osl_spread: float = _SPREAD_PRIOR
    hopeless_share: float = 0.0
    hopeless_isl_tokens: float = 0.0
    hopeless: bool = False


def class_shapes(
    classes: Iterable[RequestClass],
    totals: Mapping[ClassName, ClassTotals],
    outputs: Mapping[ClassName, Outputs],
    *,
    isl_prior_tokens: float,
    osl_prior_tokens: float,
) -> dict[ClassName, ClassShape]:
    """Lengths learned from `totals` and `outputs`, drawn towards the priors within a class's range.

    Before any request has arrived all classes have the same share.
    """
    listed = tuple(classes)
    counts = {c.name: totals.get(c.name, ClassTotals()) for c in listed}
    arrivals = sum(count.arrivals for count in counts.values())
    shapes: dict[ClassName, ClassShape] = {}
    for c in listed:
        count, ended = counts[c.name], outputs.get(c.name) or Outputs(0.0)
        hopeful = count.arrivals - count.hopeless_arrivals
        hopeless_tokens = count.hopeless_isl_tokens
        isl_prior = _within(c.isl_tokens, isl_prior_tokens)
        osl_prior = _within(c.osl_tokens, osl_prior_tokens)
        shapes[c.name] = ClassShape(
            isl_tokens=_drawn(isl_prior, count.isl_tokens - hopeless_tokens, hopeful),
            osl_tokens=_drawn(osl_prior, ended.total_tokens, ended.completed),
            share=count.arrivals / arrivals if arrivals else 1.0 / len(listed),
            isl_spread=_spread(count.prompts),
            osl_spread=_spread(count.outputs),
            hopeless_share=count.hopeless_arrivals / count.arrivals if count.arrivals else 0.0,
            hopeless_isl_tokens=hopeless_tokens / max(1, count.hopeless_arrivals),
            hopeless=count.hopeless_arrivals >= max(_SURE, _ALL * count.arrivals),
        )
    return shapes


def class_loads(
    forecast: Forecast, shapes: Mapping[ClassName, ClassShape], served: Iterable[ClassName]
) -> tuple[ClassLoad, ...]:
    """The pool's forecast, split over the classes it can serve (`served`)."""
    names = sorted(set(served) & set(shapes))
    total = sum(shapes[name].share for name in names)
    high_rps = forecast.quantile(HIGH_QUANTILE)
    loads = []
    for name in names:
        shape = shapes[name]
        share = shape.share / total if total > 0.0 else 1.0 / len(names)
        loads.append(
            ClassLoad(
                name=name,
                rate_rps=forecast.mean * share,
                rate_high_rps=high_rps * share,
                isl_tokens=shape.isl_tokens,
                osl_tokens=shape.osl_tokens,
            )
        )
    return tuple(loads)


def _drawn(prior: float, total: float, count: float) -> float:
    return (prior * _PRIOR_REQUESTS + total) / (_PRIOR_REQUESTS + count)


def _spread(lengths: Moments) -> float:
    """The prior as long as little or nothing is told."""
    measured, count = lengths.spread, lengths.count
    if measured is None:
        return _SPREAD_PRIOR
    return (_SPREAD_PRIOR * _PRIOR_SPREAD_REQUESTS + measured * count) / (
        _PRIOR_SPREAD_REQUESTS + count
    )


def _within(tokens: TokenRange, prior: float) -> float:
    high = prior if tokens.high is None else min(prior, tokens.high - 1)
    return max(1.0, tokens.low, high)
