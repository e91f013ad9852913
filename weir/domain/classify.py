"""Which request class a request belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass

from weir.domain.fleet import RequestClass, Stated

__all__ = ["OfTenant", "classify"]


@dataclass(frozen=True, slots=True)
class OfTenant:
    """Of a request only its tenant is known; empty: not that either."""

    tenant: str
    ttft_s: float | None = None
    itl_s: float | None = None
    priority: int | None = None


def classify(
    classes: Sequence[RequestClass],
    isl_tokens: float,
    osl_tokens: float,
    stated: Stated | None = None,
) -> RequestClass:
    """The first class whose ISL and OSL ranges, and whose rule, hold the request.

    `stated`: what the request says of itself; None: not known, so that no rule holds. A request
    that no class holds counts as the last one that goes by lengths alone, so that every request
    has an SLO. Classes on request are left out. Raises `ValueError` if none goes by lengths alone.
    """
    for request_class in classes:
        if not request_class.isl_tokens.holds(isl_tokens):
            continue
        if request_class.osl_tokens.holds(osl_tokens) and not request_class.on_request:
            rule = request_class.rule
            if rule is None or rule.holds(stated):
                return request_class
    for request_class in reversed(classes):
        if request_class.by_length:
            return request_class
    raise ValueError("a fleet has at least one request class that goes by lengths alone")
