"""What a change would come to. A replica carries 5 chat requests/s unless a test says otherwise."""

from dataclasses import replace
from typing import Any

import pytest

from globalplanner.core.arbiter.snapshot import Rules, Snapshot
from globalplanner.core.budget.limits import limits_of
from globalplanner.core.study.effect import predict
from globalplanner.core.study.retarget import with_classes
from tests.unit.globalplanner.fleets import CHAT, LONG, fleet, pool, request_class, snapshot, view
from weir.domain.fleet import Role
from weir.domain.ids import ClassName
from weir.domain.overrides import ClassTargets, effective_classes
from weir.domain.profile import EngineProfile, PolynomialTiming
from weir.sizing.capacity import replica_capacity_rps

RULES = Rules()
ONE = pool("one")
DECODE_PROFILE = EngineProfile(
    timing=PolynomialTiming(prefill_s=(0.0, 1e-4), decode_s=(0.010,), decode_per_sequence_s=0.001),
    kv_tokens=1_000_000,
)
"""An iteration takes 10 ms and 1 ms per sequence: 40 of them within 50 ms, 20 within 30 ms."""


def _with(snapshot: Snapshot, name: ClassName, **changes: Any) -> Snapshot:
    targets = {name: ClassTargets(**changes)}
    return with_classes(snapshot, effective_classes(snapshot.classes, targets), RULES)


def test_a_larger_budget_is_told_in_replicas_and_requests_by_class() -> None:
    before = snapshot([view(ONE, 2)], {"chat": 18.0}, gpus=2)
    after = replace(before, limits=limits_of(fleet([ONE], gpus=3)))
    effect = predict(before, after, RULES)
    assert effect.served_before_rps == pytest.approx({CHAT: 10.0})
    assert effect.served_after_rps == pytest.approx({CHAT: 15.0})
    assert (effect.value_before, effect.value_after) == (pytest.approx(10.0), pytest.approx(15.0))
    assert effect.lines == (
        "one: 2 -> 3 replicas",
        "chat: 10.0 -> 15.0 rps within SLO of 18.0 offered",
    )
    assert not effect.applied


def test_a_change_that_changes_nothing_says_what_stays() -> None:
    before = snapshot([view(ONE, 2)], {"chat": 9.0})
    effect = predict(before, before, RULES)
    assert effect.lines == ("chat: 9.0 rps within SLO of 9.0 offered, as before",)
    assert effect.value_before == effect.value_after == pytest.approx(9.0)


def test_while_nobody_knows_what_is_offered_the_effect_is_not_known_either() -> None:
    before = snapshot([view(ONE, 2)], None, gpus=2)
    after = replace(before, limits=limits_of(fleet([ONE], gpus=1)))
    effect = predict(before, after, RULES)
    assert effect.served_after_rps == {}
    assert effect.lines == (
        "one: 2 -> 1 replicas",
        "what would be served is not known: no traffic telemetry yet",
    )


def test_both_sides_are_weighed_as_classes_weigh_after_the_change() -> None:
    # 10 requests/s are served of 20, and after the change the long ones come first.
    classes = (request_class("chat"), request_class("long"))
    whole = fleet([ONE], gpus=2, classes=classes)
    both = view(ONE, 2, capacity_rps={CHAT: 5.0, LONG: 5.0})
    before = snapshot([both], {"chat": 10.0, "long": 10.0}, whole=whole)
    after = _with(before, LONG, weight=3.0)
    effect = predict(before, after, RULES)
    assert effect.served_after_rps == pytest.approx({CHAT: 0.0, LONG: 10.0})
    assert effect.value_after == pytest.approx(30.0)
    long_rps = effect.served_before_rps[LONG]
    assert effect.value_before == pytest.approx(10.0 - long_rps + 3.0 * long_rps)


def test_a_stricter_target_scales_what_pools_have_reported() -> None:
    # 40 sequences in 50 ms are 800 tokens/s, 20 in 30 ms are 667.
    spec = pool("d", Role.DECODE, profile=DECODE_PROFILE)
    now = snapshot([view(spec, capacity_rps={CHAT: 6.0})], {"chat": 4.0})
    stricter = _with(now, CHAT, itl_s=0.030)
    assert stricter.pools[0].capacity_rps[CHAT] == pytest.approx(6.0 * (20 / 0.030) / 800.0)
    assert stricter.classes[0].slo.itl_s == 0.030
    back = with_classes(stricter, now.classes, RULES)
    assert back.pools[0].capacity_rps[CHAT] == pytest.approx(6.0)


def test_a_target_that_no_replica_can_keep_leaves_no_capacity() -> None:
    spec = pool("d", Role.DECODE, profile=DECODE_PROFILE)
    now = snapshot([view(spec)], {"chat": 4.0})
    assert _with(now, CHAT, itl_s=0.005).pools[0].capacity_rps == {}


def test_a_class_that_could_not_be_served_gets_what_the_profile_says() -> None:
    spec = pool("d", Role.DECODE, profile=DECODE_PROFILE)
    strict = request_class(slo=replace(request_class().slo, itl_s=0.005))
    whole = fleet([spec], classes=(strict,))
    now = snapshot([view(spec, capacity_rps={})], {"chat": 4.0}, whole=whole)
    looser = _with(now, CHAT, itl_s=0.050)
    slo = looser.classes[0].slo
    expected = replica_capacity_rps(
        DECODE_PROFILE, Role.DECODE, slo, 1000.0, 200.0, utilization=RULES.utilization
    )
    assert looser.pools[0].capacity_rps == {CHAT: expected}


def test_weight_and_priority_change_no_capacity() -> None:
    now = snapshot([view(ONE)], {"chat": 4.0})
    changed = _with(now, CHAT, weight=2.0, priority=5)
    assert changed.pools == now.pools
    assert (changed.classes[0].weight, changed.classes[0].priority) == (2.0, 5)
