"""No bytes in hints fail a request, and none makes it more than the document allows."""

import json
from dataclasses import replace
from math import isfinite
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from router.core.explain import ExplainedFlight
from router.core.hints import HintRules
from router.core.request import Outcome, RequestProfile, Route
from router.frontend.explained import explanation
from router.frontend.hints import HINT_HEADERS, Hints, Ignored, read_hints
from tests.unit.router.builders import members, pool, request_class, service
from weir.domain.fleet import Role

_NAMES = sorted(HINT_HEADERS)
_LABELS = {name.decode() for name in _NAMES} | {
    "nvext",
    "nvext.router",
    "nvext.router.ttft_target",
    "nvext.router.itl_target",
    "nvext.agent_hints",
    "nvext.agent_hints.priority",
    "nvext.agent_hints.osl",
}
_TEXTS = st.one_of(
    st.binary(max_size=40),
    st.integers().map(lambda n: b"%d" % n),
    st.floats().map(lambda x: repr(x).encode()),
    st.sampled_from([b"batch", b"chat", b"tiny", b"1", b""]),
)
_HEADERS = st.dictionaries(st.sampled_from(_NAMES), _TEXTS, max_size=6)
_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just([1])
)
_KEYS = st.one_of(
    st.sampled_from(["ttft_target", "itl_target", "priority", "osl", "strict_priority"]),
    st.text(max_size=5),
)
_SECTIONS = st.one_of(_SCALARS, st.dictionaries(_KEYS, _SCALARS, max_size=6))
_NVEXT = st.one_of(
    _SCALARS,
    st.dictionaries(
        st.sampled_from(["router", "agent_hints", "annotations"]), _SECTIONS, max_size=3
    ),
)

_CHAT = request_class("chat", ttft_s=0.5, itl_s=0.05, priority=1)
_BATCH = replace(request_class("batch", isl=(0, 200), ttft_s=60.0), on_request=True)


def _profile(hints: Hints, isl: int) -> RequestProfile:
    return RequestProfile(
        model="tiny",
        isl_tokens=isl,
        tenant=hints.tenant,
        ttft_s=hints.ttft_s,
        itl_s=hints.itl_s,
        priority=hints.priority,
        osl_hint_tokens=hints.osl_hint_tokens,
        asked_class=hints.asked_class,
    )


@given(_HEADERS, _NVEXT)
def test_whatever_hints_say_they_are_read_within_bounds(
    headers: dict[bytes, bytes], nvext: Any
) -> None:
    hints = read_hints(headers, {"nvext": nvext})
    assert {name for name, _ in hints.ignored} <= _LABELS
    assert set(hints.sources.values()) <= _LABELS
    for target_s in (hints.ttft_s, hints.itl_s):
        assert target_s is None or (isfinite(target_s) and 0.0 <= target_s <= 1e6)
    assert hints.osl_hint_tokens is None or 1 <= hints.osl_hint_tokens <= 10**7
    assert hints.priority is None or abs(hints.priority) < 2**31
    assert len(hints.tenant) <= 128
    assert hints.model.isascii()


@given(st.binary(max_size=200))
def test_no_json_in_a_body_is_too_odd(nvext: bytes) -> None:
    try:
        data = orjson.loads(b'{"nvext":' + nvext + b"}")
    except orjson.JSONDecodeError:
        data = {"nvext": nvext.decode("latin-1")}
    read_hints({}, data)


@given(
    _HEADERS,
    _NVEXT,
    st.integers(1, 3900),
    st.floats(0.01, 1.0),
    st.integers(0, 3),
    st.integers(0, 10_000),
)
def test_no_request_gets_more_than_the_document_allows_and_each_can_be_explained(
    headers: dict[bytes, bytes], nvext: Any, isl: int, tighten_to: float, most: int, osl: int
) -> None:
    rules = HintRules(tighten_to=tighten_to, raise_priority=most)
    router = service(
        (pool("a", Role.AGG),), members("a", "w"), classes=(_CHAT, _BATCH), hints=rules
    )
    hints = read_hints(headers, {"nvext": nvext})
    flight = router.open_explained(_profile(hints, isl), 0.0)
    assert isinstance(flight, ExplainedFlight)
    slo = flight.request_class.slo
    assert flight.sized.ttft_s >= tighten_to * slo.ttft_s
    assert flight.sized.itl_s >= tighten_to * slo.itl_s
    assert flight.priority <= flight.request_class.priority + most
    if flight.request_class.name == "batch":
        assert hints.asked_class == "batch" and isl < 200
    if hints.osl_hint_tokens is not None:
        assert 1 <= flight.sized.osl_tokens <= 4000 - isl
    hints.deny(flight.denied())
    route = router.decide(flight.profile, 0.0)
    assert isinstance(route, Route)
    flight.sent(route, 0.0)
    line = explanation(flight, hints)
    told = json.loads(line)
    assert (told["class"], told["pools"][0]["pool"]) == (flight.request_class.name, "a")
    assert line.isascii() and b"\n" not in line and b"\r" not in line
    assert all(why in {each.value for each in Ignored} for why in told["ignored"].values())
    flight.finish(Outcome.COMPLETED, 1.0, output_tokens=osl)
    again = router.open(_profile(hints, isl), 2.0)
    if hints.osl_hint_tokens is not None:
        assert 1 <= again.sized.osl_tokens <= 4000 - isl
