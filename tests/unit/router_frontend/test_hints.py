"""What clients may say besides the request, name by name."""

from typing import Any

import pytest

from router.frontend.hints import HINT_HEADERS, NO_HINTS, Hints, Ignored, read_hints

MALFORMED, OUT_OF_RANGE, UNKNOWN = Ignored.MALFORMED, Ignored.OUT_OF_RANGE, Ignored.UNKNOWN


def _headers(**named: str) -> Hints:
    return read_hints({k.replace("_", "-").encode(): v.encode() for k, v in named.items()}, {})


def _body(section: str, **values: Any) -> Hints:
    return read_hints({}, {"nvext": {section: values}})


@pytest.mark.parametrize(
    ("name", "text", "of_field", "value"),
    [
        ("x-llm-d-inference-fairness-id", "team a", "tenant", "team a"),
        ("x-gateway-inference-fairness-id", "b", "tenant", "b"),
        ("x-llm-d-inference-objective", "batch", "asked_class", "batch"),
        ("x-gateway-inference-objective", "batch", "asked_class", "batch"),
        ("x-llm-d-model-name-rewrite", "org/m:v2", "model", "org/m:v2"),
        ("x-gateway-model-name-rewrite", "m", "model", "m"),
        ("x-llm-d-slo-ttft-ms", "250", "ttft_s", 0.25),
        ("x-slo-ttft-ms", "0.5", "ttft_s", 0.0005),
        ("x-llm-d-slo-tpot-ms", " 30 ", "itl_s", 0.03),
        ("x-slo-tpot-ms", "1000000000", "itl_s", 1e6),
        ("x-dynamo-request-priority", "5", "priority", -5),
        ("x-session-id", "7f-a:b", "session", "7f-a:b"),
        ("x-weir-explain", "1", "explain", True),
        ("x-weir-explain", "True", "explain", True),
        ("x-weir-explain", "0", "explain", False),
    ],
)
def test_a_header_is_read(name: str, text: str, of_field: str, value: object) -> None:
    hints = read_hints({name.encode(): text.encode()}, {})
    assert getattr(hints, of_field) == value
    assert hints.sources == {of_field: name}
    assert hints.ignored == []
    assert name.encode() in HINT_HEADERS


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("x-llm-d-inference-fairness-id", "", MALFORMED),
        ("x-llm-d-inference-objective", "a b", MALFORMED),
        ("x-llm-d-inference-objective", "a" * 64, MALFORMED),
        ("x-llm-d-model-name-rewrite", "a b", MALFORMED),
        ("x-session-id", "a b", MALFORMED),
        ("x-session-id", "s" * 257, MALFORMED),
        ("x-llm-d-slo-ttft-ms", "", MALFORMED),
        ("x-llm-d-slo-ttft-ms", "1_000", MALFORMED),
        ("x-llm-d-slo-ttft-ms", "1e3", MALFORMED),
        ("x-llm-d-slo-ttft-ms", "nan", MALFORMED),
        ("x-llm-d-slo-ttft-ms", "9" * 400, MALFORMED),
        ("x-llm-d-slo-ttft-ms", "0", OUT_OF_RANGE),
        ("x-slo-ttft-ms", "-1", OUT_OF_RANGE),
        ("x-slo-tpot-ms", "1000000001", OUT_OF_RANGE),
        ("x-dynamo-request-priority", "1.5", MALFORMED),
        ("x-dynamo-request-priority", "2147483648", OUT_OF_RANGE),
        ("x-weir-explain", "yes", MALFORMED),
    ],
)
def test_a_header_that_cannot_be_used_is_left_out(name: str, text: str, why: Ignored) -> None:
    hints = read_hints({name.encode(): text.encode()}, {})
    assert hints == Hints(ignored=[(name, why)])


def test_the_current_name_goes_before_its_alias_and_both_before_the_body() -> None:
    current, alias = {"x_llm_d_slo_ttft_ms": "1"}, {"x_slo_ttft_ms": "2"}
    assert _headers(**current, **alias).ttft_s == 0.001
    assert _headers(**alias).ttft_s == 0.002
    body = {"nvext": {"router": {"ttft_target": 3}}}
    assert read_hints({b"x-slo-ttft-ms": b"2"}, body).ttft_s == 0.002
    assert read_hints({}, body).ttft_s == 0.003


def test_of_several_names_the_first_that_can_be_used_counts() -> None:
    headers = {b"x-llm-d-slo-ttft-ms": b"soon", b"x-slo-ttft-ms": b"0"}
    hints = read_hints(headers, {"nvext": {"router": {"ttft_target": 3}}})
    assert hints.ttft_s == 0.003
    assert hints.sources == {"ttft_s": "nvext.router.ttft_target"}
    assert hints.ignored == [("x-llm-d-slo-ttft-ms", MALFORMED), ("x-slo-ttft-ms", OUT_OF_RANGE)]


def test_a_long_tenant_is_cut() -> None:
    assert len(_headers(x_llm_d_inference_fairness_id="x" * 999).tenant) == 128


@pytest.mark.parametrize(
    ("section", "key", "given", "of_field", "value"),
    [
        ("router", "ttft_target", 250, "ttft_s", 0.25),
        ("router", "ttft_target", 0, "ttft_s", 0.0),
        ("router", "itl_target", 12.5, "itl_s", 0.0125),
        ("agent_hints", "priority", 5, "priority", -5),
        ("agent_hints", "priority", -3, "priority", 3),
        ("agent_hints", "osl", 1024, "osl_hint_tokens", 1024),
    ],
)
def test_a_key_of_nvext_is_read(
    section: str, key: str, given: object, of_field: str, value: object
) -> None:
    hints = _body(section, **{key: given})
    assert getattr(hints, of_field) == value
    assert (hints.sources, hints.ignored) == ({of_field: f"nvext.{section}.{key}"}, [])


@pytest.mark.parametrize(
    ("section", "key", "given", "why"),
    [
        ("router", "ttft_target", "250", MALFORMED),
        ("router", "ttft_target", True, MALFORMED),
        ("router", "ttft_target", [1], MALFORMED),
        ("router", "itl_target", -1, OUT_OF_RANGE),
        ("router", "itl_target", 1e300, OUT_OF_RANGE),
        ("agent_hints", "priority", 1.0, MALFORMED),
        ("agent_hints", "priority", 2**31, OUT_OF_RANGE),
        ("agent_hints", "osl", 0, OUT_OF_RANGE),
        ("agent_hints", "osl", 10**7 + 1, OUT_OF_RANGE),
        ("agent_hints", "osl", {}, MALFORMED),
    ],
)
def test_a_key_of_nvext_that_cannot_be_used_is_left_out(
    section: str, key: str, given: object, why: Ignored
) -> None:
    assert _body(section, **{key: given}) == Hints(ignored=[(f"nvext.{section}.{key}", why)])


@pytest.mark.parametrize(
    ("given", "why"),
    [("1", MALFORMED), (True, MALFORMED), (-1, OUT_OF_RANGE), (2**31, OUT_OF_RANGE)],
)
def test_a_tier_is_a_whole_number_from_0(given: object, why: Ignored) -> None:
    assert _body("agent_hints", strict_priority=3).tier == 3
    name = "nvext.agent_hints.strict_priority"
    assert _body("agent_hints", strict_priority=given) == Hints(ignored=[(name, why)])


def test_keys_that_are_no_hints_count_under_the_name_of_their_section() -> None:
    hints = _body("agent_hints", speculative_prefill=True, mood="good", osl=7)
    assert hints.osl_hint_tokens == 7
    assert hints.ignored == [("nvext.agent_hints", UNKNOWN)] * 2


def test_null_is_as_if_it_were_not_there() -> None:
    for nvext in (None, {}, {"router": None}, {"router": {"ttft_target": None}}):
        assert read_hints({}, {"nvext": nvext}) == NO_HINTS


def test_what_should_be_an_object_and_is_not_is_malformed() -> None:
    assert read_hints({}, {"nvext": [1]}).ignored == [("nvext", MALFORMED)]
    assert read_hints({}, {"nvext": {"router": 3}}).ignored == [("nvext.router", MALFORMED)]


def test_what_else_is_in_nvext_is_the_engines_business() -> None:
    assert read_hints({}, {"nvext": {"annotations": ["x"], "greed_sampling": 1}}) == NO_HINTS


def test_a_hint_that_is_not_followed_leaves_no_trace_but_its_report() -> None:
    hints = _headers(x_llm_d_model_name_rewrite="nope", x_slo_ttft_ms="5")
    hints.ignore("model", UNKNOWN)
    hints.deny(["ttft_s", "priority"])
    assert (hints.model, hints.ttft_s) == ("", 0.005)
    assert hints.sources == {"ttft_s": "x-slo-ttft-ms"}
    assert hints.ignored == [
        ("x-llm-d-model-name-rewrite", UNKNOWN),
        ("x-slo-ttft-ms", Ignored.NOT_ALLOWED),
    ]
