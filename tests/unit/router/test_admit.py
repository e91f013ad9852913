"""Sizing a request up: class, targets, and contexts it does not fit."""

from dataclasses import replace
from math import inf

import pytest

from router.core.admit import Admission, Sized
from router.core.hints import ASK_FOR_LESS, HintRules
from router.core.lengths.outputs import OutputLengths
from router.core.lengths.prompts import PromptLengths
from router.core.pools import Pools
from router.core.request import RequestProfile
from tests.unit.router.builders import MODEL, fleet, pool, request, request_class
from weir.domain.errors import RequestError
from weir.domain.fleet import PoolSpec, Role, Rule
from weir.domain.ids import ClassName

SMALL = request_class("small", isl=(0, 1000), osl=(0, 100), ttft_s=0.5, itl_s=0.02)
LONG = request_class("long", ttft_s=5.0, itl_s=0.05)
SHORT_AGG = pool("short", Role.AGG, context_limit_tokens=1000)
LONG_AGG = pool("long", Role.AGG, context_limit_tokens=10_000)


BATCH = replace(request_class("batch", isl=(0, 500), ttft_s=60.0, itl_s=1.0), on_request=True)


def _admission(*pools: PoolSpec, rules: HintRules = ASK_FOR_LESS) -> Admission:
    the_fleet = fleet(pools or (SHORT_AGG, LONG_AGG), (SMALL, LONG, BATCH))
    return Admission(
        Pools(the_fleet.models, the_fleet.pools),
        the_fleet.classes,
        PromptLengths(4.0),
        OutputLengths(256.0),
        rules,
    )


def _size(profile: RequestProfile, *pools: PoolSpec) -> Sized:
    return _admission(*pools).size(profile)


def test_class_is_the_first_whose_lengths_hold() -> None:
    assert _size(request(900, max_tokens=50)).request_class is SMALL
    assert _size(request(1000, max_tokens=50)).request_class is LONG
    assert _size(request(900, max_tokens=None)).request_class is LONG


def test_targets_of_the_request_replace_those_of_its_class() -> None:
    sized = _size(request(100))
    assert (sized.ttft_s, sized.itl_s) == (0.5, 0.02)
    sized = _size(request(100, ttft_s=9.0))
    assert (sized.ttft_s, sized.itl_s) == (9.0, 0.02)


def test_a_request_may_ask_for_tighter_targets_only_as_far_as_is_allowed() -> None:
    hasty = request(100, ttft_s=0.1, itl_s=0.015)
    sized = _size(hasty)
    assert (sized.ttft_s, sized.itl_s) == (0.5, 0.02)
    sized = _admission(rules=HintRules(tighten_to=0.5)).size(hasty)
    assert (sized.ttft_s, sized.itl_s) == (0.25, 0.015)


def test_where_a_class_has_no_target_a_request_may_have_any() -> None:
    assert ASK_FOR_LESS.target_s(0.1, inf) == 0.1
    assert ASK_FOR_LESS.target_s(inf, 0.1) == inf


def test_a_request_gets_the_class_it_asks_for_if_that_is_on_request_and_holds_it() -> None:
    sized = _size(request(100, asked_class="batch"))
    assert (sized.request_class, sized.ttft_s) == (BATCH, 60.0)
    assert _size(request(100)).request_class is SMALL
    for isl, name in ((500, "batch"), (100, "long"), (100, "nope")):
        assert _size(request(isl, asked_class=name)).request_class is SMALL


def test_a_class_for_some_tenants_holds_theirs_only_also_on_request() -> None:
    rule = Rule(tenants=frozenset({"acme"}))
    gold = replace(request_class("gold", isl=(0, 500)), rule=rule)
    asked = replace(gold, name=ClassName("asked"), on_request=True)
    the_fleet = fleet((LONG_AGG,), (gold, asked, SMALL, LONG))
    admission = Admission(
        Pools(the_fleet.models, the_fleet.pools),
        the_fleet.classes,
        PromptLengths(4.0),
        OutputLengths(256.0),
    )
    for tenant, asks, found in (
        ("acme", "", gold),
        ("other", "", SMALL),
        ("acme", "asked", asked),
        ("other", "asked", SMALL),
    ):
        profile = request(100, max_tokens=60, tenant=tenant, asked_class=asks)
        assert admission.size(profile).request_class is found


def test_an_output_foretold_counts_up_to_what_is_asked_for_and_can_be_held() -> None:
    assert _size(request(100, osl_hint_tokens=70, max_tokens=None)).osl_tokens == 70
    assert _size(request(100, osl_hint_tokens=70, max_tokens=60)).osl_tokens == 60
    assert _size(request(9_990, osl_hint_tokens=10_000, max_tokens=None)).osl_tokens == 10
    # It decides the class as an estimate does.
    assert _size(request(100, osl_hint_tokens=110, max_tokens=None)).request_class is LONG
    assert _size(request(100, osl_hint_tokens=99, max_tokens=None)).request_class is SMALL


def test_mean_kv_is_the_prompt_and_half_the_output() -> None:
    assert _size(request(100, max_tokens=60)).kv_tokens == 130


def test_a_model_is_known_by_name_and_alias_only() -> None:
    assert _size(request(model="tiny-alias")).model.name == "tiny"
    with pytest.raises(RequestError) as refused:
        _size(request(model="other"))
    assert (refused.value.status, refused.value.code) == (404, "model_not_found")
    assert "'other'" in str(refused.value)


def test_pools_with_too_short_a_context_are_left_out() -> None:
    assert _size(request(900, max_tokens=100)).too_short == frozenset()
    assert _size(request(901, max_tokens=100)).too_short == {"short"}
    # Without max_tokens the expected output counts, here the prior of 256.
    assert _size(request(744, max_tokens=None)).too_short == frozenset()
    assert _size(request(745, max_tokens=None)).too_short == {"short"}


def test_what_fits_nowhere_is_refused_with_the_numbers() -> None:
    with pytest.raises(RequestError) as refused:
        _size(request(9000, max_tokens=1001, isl_exact=True))
    assert (refused.value.status, refused.value.code) == (400, "context_length_exceeded")
    assert all(number in str(refused.value) for number in ("10000", "9000", "1001"))


def test_an_estimated_prompt_is_refused_only_if_it_surely_does_not_fit() -> None:
    # 13,000 estimated may be 9,750: the engine will count. 13,400 is too long even then.
    assert _size(request(13_000, max_tokens=200)).too_short == {"short"}
    with pytest.raises(RequestError):
        _size(request(13_400, max_tokens=200))


def test_a_prompt_within_context_is_refused_if_max_tokens_is_not() -> None:
    with pytest.raises(RequestError):
        _size(request(10, max_tokens=10_000))


def test_a_prefill_pool_must_hold_the_prompt_and_the_decode_pool_all() -> None:
    prefill = pool("p", Role.PREFILL, context_limit_tokens=1000)
    decode = pool("d", Role.DECODE, context_limit_tokens=2000)
    assert _size(request(999, max_tokens=1001), prefill, decode).too_short == frozenset()
    for isl, max_tokens in ((1000, 10), (999, 1002)):
        with pytest.raises(RequestError):
            _size(request(isl, max_tokens=max_tokens, isl_exact=True), prefill, decode)


def test_a_pair_must_speak_one_dialect_to_hold_a_long_request() -> None:
    pools = (
        pool("p", Role.PREFILL, context_limit_tokens=9000),
        pool("d", Role.DECODE, context_limit_tokens=1000),
        pool("d2", Role.DECODE, context_limit_tokens=9000, dialect="sglang"),
    )
    with pytest.raises(RequestError):
        _size(request(5000, max_tokens=10, isl_exact=True), *pools)


def test_class_is_that_of_the_median_output_and_kv_is_kept_for_the_longest_in_ten() -> None:
    # Eight in ten are 50 tokens, two are 2,000: the mean is 440, of the other class.
    outputs = OutputLengths(256.0)
    the_fleet = fleet((LONG_AGG,), (SMALL, LONG))
    admission = Admission(
        Pools(the_fleet.models, the_fleet.pools), the_fleet.classes, PromptLengths(4.0), outputs
    )
    profile = request(100, max_tokens=None)
    shape = admission.size(profile).shape
    for i in range(500):
        outputs.ended(shape, "", 2000 if i % 5 == 0 else 50)
    sized = admission.size(profile)
    assert sized.request_class is SMALL
    assert 350 < sized.osl_tokens < 550
    # Of those that run 800 in 840 tokens' time are long: about 1,000 tokens are put out by then.
    assert sized.kv_tokens == pytest.approx(100 + 950, rel=0.1)
    assert sized.kv_spread == pytest.approx((2000 - 950) ** 2, rel=0.3)


def test_a_hint_chooses_the_class_until_it_proves_wrong() -> None:
    assert _size(request(100, max_tokens=None)).request_class is LONG
    assert _size(request(100, max_tokens=None, osl_hint_tokens=20)).request_class is SMALL


def test_a_prompt_is_near_a_border_if_its_error_may_reach_it() -> None:
    # Borders at 1,000 and 10,000; estimates may be wrong by 62.5 % before anything is learned.
    the_fleet = fleet((SHORT_AGG, LONG_AGG), (SMALL, LONG))
    prompts = PromptLengths(4.0)
    admission = Admission(
        Pools(the_fleet.models, the_fleet.pools), the_fleet.classes, prompts, OutputLengths(256.0)
    )
    near = [isl for isl in (100, 700, 2600, 3000, 7000) if admission.near_border(request(isl))]
    assert near == [700, 2600, 7000]
    assert admission.near_border(request(3000, max_tokens=6000))
    for _ in range(300):
        prompts.observe(MODEL, "", prompt_bytes=4000, prompt_tokens=1000, estimated_tokens=1000)
    near = [isl for isl in (100, 700, 990, 2600, 9990) if admission.near_border(request(isl))]
    assert near == [990, 9990]
