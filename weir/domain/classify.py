"""Which request class a request belongs to."""

from collections.abc import Sequence

from weir.domain.fleet import RequestClass

__all__ = ["classify"]


def classify(classes: Sequence[RequestClass], isl_tokens: float, osl_tokens: float) -> RequestClass:
    """The first class whose ISL and OSL ranges hold the request.

    A request that no class holds counts as the last one, so that every request has an SLO.
    Classes on request are left out. Raises `ValueError` if there are no others.
    """
    for request_class in classes:
        if not request_class.isl_tokens.holds(isl_tokens):
            continue
        if request_class.osl_tokens.holds(osl_tokens) and not request_class.on_request:
            return request_class
    for request_class in reversed(classes):
        if not request_class.on_request:
            return request_class
    raise ValueError("a fleet has at least one request class that is not on request")
