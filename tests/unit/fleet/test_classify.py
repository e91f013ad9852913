"""First class that holds the request; the last takes what none holds."""

from dataclasses import replace

import pytest

from weir.domain.classify import classify
from weir.domain.fleet import RequestClass, Slo, TokenRange
from weir.domain.ids import ClassName


def _class(name: str, isl: TokenRange, osl: TokenRange) -> RequestClass:
    slo = Slo(ttft_s=1.0, itl_s=0.05)
    return RequestClass(name=ClassName(name), isl_tokens=isl, osl_tokens=osl, slo=slo)


SMALL = _class("small", TokenRange(high=100), TokenRange(high=50))
CHAT = _class("chat", TokenRange(high=1000), TokenRange())
LONG = _class("long", TokenRange(low=2000), TokenRange())


@pytest.mark.parametrize(
    ("isl", "osl", "expected"),
    [
        (1, 1, SMALL),
        (99, 49.9, SMALL),
        (99, 50, CHAT),
        (100, 1, CHAT),
        (999.5, 10**9, CHAT),
        (2000, 1, LONG),
        (1500, 1, LONG),  # a gap: the last class
    ],
)
def test_the_first_class_whose_ranges_hold_wins(
    isl: float, osl: float, expected: RequestClass
) -> None:
    assert classify([SMALL, CHAT, LONG], isl, osl) is expected


def test_a_class_on_request_is_of_nobody_who_does_not_ask_for_it() -> None:
    asked = replace(CHAT, name=ClassName("asked"), on_request=True)
    assert classify([asked, SMALL, CHAT, asked], 500, 1) is CHAT
    assert classify([asked, SMALL, asked], 500, 1) is SMALL  # the last of the others
    with pytest.raises(ValueError, match="not on request"):
        classify([asked], 1, 1)


def test_no_classes_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        classify([], 1, 1)
