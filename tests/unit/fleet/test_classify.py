"""First class that holds the request; the last takes what none holds."""

from dataclasses import replace

import pytest

from weir.domain.classify import OfTenant, classify
from weir.domain.fleet import RequestClass, Rule, Slo, Span, TokenRange
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
    with pytest.raises(ValueError, match="lengths alone"):
        classify([asked], 1, 1)


def test_no_classes_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        classify([], 1, 1)


@pytest.mark.parametrize(
    ("rule", "held", "others"),
    [
        (Rule(tenants=frozenset({"acme"})), [OfTenant("acme")], [OfTenant("other"), OfTenant("")]),
        (
            Rule(ttft_s=Span(high=0.5)),
            [OfTenant("", ttft_s=0.5)],
            [OfTenant(""), OfTenant("", ttft_s=0.6)],
        ),
        (Rule(itl_s=Span(low=0.1)), [OfTenant("", itl_s=0.1)], [OfTenant("", itl_s=0.09)]),
        (
            Rule(priority=Span(low=1)),
            [OfTenant("", priority=-1)],
            [OfTenant("", priority=1), OfTenant("", priority=0), OfTenant("")],
        ),
        (
            Rule(tenants=frozenset({"acme"}), ttft_s=Span(low=10.0)),
            [OfTenant("acme", ttft_s=20.0)],
            [OfTenant("acme"), OfTenant("other", ttft_s=20.0)],
        ),
    ],
)
def test_a_class_with_a_rule_holds_those_who_keep_it(
    rule: Rule, held: list[OfTenant], others: list[OfTenant]
) -> None:
    gold = replace(CHAT, name=ClassName("gold"), rule=rule)
    for stated in held:
        assert classify([gold, SMALL, CHAT], 50, 10, stated) is gold
        assert classify([gold, SMALL], 1500, 10, stated) is SMALL  # too long: the last by length
    for stated in (*others, None):
        assert classify([gold, SMALL, CHAT], 50, 10, stated) is SMALL
        assert classify([SMALL, gold], 500, 10, stated) is SMALL
    with pytest.raises(ValueError, match="lengths alone"):
        classify([gold], 1500, 1)
