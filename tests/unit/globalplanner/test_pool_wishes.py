"""What becomes of the wishes that pools' own planners report."""

from typing import Any

import pytest

from globalplanner.core.arbiter.arbitrate import arbitrate
from globalplanner.core.arbiter.snapshot import Decision, Memory, PoolView, Rules
from globalplanner.core.report import check_report
from globalplanner.decisions.explain import Explainer
from globalplanner.decisions.history import History
from tests.unit.globalplanner.fleets import CHAT, fleet, pool, report, snapshot, view
from tests.unit.globalplanner.live import Live
from weir.codec.planning import decode_report, encode_report
from weir.domain.fleet import PoolSpec, Role
from weir.domain.ids import PoolId
from weir.domain.targets import Target, Thresholds

LATENCY = Thresholds(target=Target.LATENCY, up=0.4, down=0.1)


def sized(name: str, role: Role = Role.AGG, **changes: Any) -> PoolSpec:
    """A pool that its own planner sizes."""
    return pool(name, role, thresholds=LATENCY, **{"max_replicas": 8, **changes})


class Wishing(Live):
    """`says`: fields of the reports of all pools."""

    says: dict[str, Any]

    def ask(self, seconds: int = 6, **says: Any) -> dict[str, int]:
        for _ in range(seconds):
            self.run(1, rps=1)
            self._say(says)
        return dict(self.targets)

    def _say(self, says: dict[str, Any]) -> None:
        for id, grant in self.acted.items():
            self.sequence += 1
            fields = {"telemetry_age_s": 1.0, **says}
            named = (grant.term, grant.epoch, grant.replicas)
            self.planner.report(
                report(str(id), self.sequence, ready=grant.replicas, acted=named, **fields)
            )
        self.planner.decide()


def test_a_wish_is_granted_within_minimum_and_maximum() -> None:
    live = Wishing(fleet([sized("a", max_replicas=5)]))
    assert live.ask(wish=3) == {"a": 3}
    assert live.ask(wish=9) == {"a": 5}
    assert live.ask(wish=0) == {"a": 1}


def test_a_report_without_a_wish_asks_for_what_has_been_decided() -> None:
    live = Wishing(fleet([sized("a")]))
    assert live.ask(wish=4) == {"a": 4}
    # Nothing is offered that needs four replicas, or more than one.
    assert live.ask(60) == {"a": 4}


def test_a_pool_of_old_telemetry_may_grow_and_does_not_shrink() -> None:
    live = Wishing(fleet([sized("a")]))
    live.ask(wish=3)
    assert live.ask(wish=1, telemetry_age_s=60.0) == {"a": 3}
    assert live.ask(wish=4, telemetry_age_s=60.0) == {"a": 4}
    assert live.ask(wish=1) == {"a": 1}


def test_the_wish_of_a_pool_that_has_fallen_silent_is_in_force_no_more() -> None:
    live = Wishing(fleet([sized("a"), sized("b", model="other")], gpus=6))
    live.ask(wish=3)
    ledger = live.planner.ledger
    assert ledger is not None
    account = ledger.accounts[next(id for id in ledger.accounts if id == "b")]
    account.reported_at_s -= 60.0
    account.report = report("b", live.sequence, ready=3, wish=1, telemetry_age_s=1.0)
    live.planner.decide()
    assert live.targets["b"] == 3


def test_pools_of_both_kinds_share_one_budget_and_reasons_say_whose_wish_it_is() -> None:
    mine = view(sized("a", model="ma"), 1, wish=6)
    theirs = view(pool("b", model="mb", max_replicas=8), load_rps={CHAT: 15.0})
    decision = decide([mine, theirs], {"chat": 15.0}, gpus=8)
    assert sum(decision.replicas.values()) <= 8
    assert decision.replicas["b"] == 3  # type: ignore[index]
    assert decision.replicas["a"] == 5  # type: ignore[index]
    told = decision.reasons["a"]  # type: ignore[index]
    assert "asked for 6 by its own planner, by its target latency" in told


def decide(views: list[PoolView], loads: dict[str, float] | None, **more: Any) -> Decision:
    return arbitrate(snapshot(views, loads, **more), Rules(), Memory())


@pytest.mark.parametrize("ours", [Role.PREFILL, Role.DECODE])
def test_a_stage_is_sized_for_all_that_is_offered_if_wishes_size_the_other(ours: Role) -> None:
    # A replica carries 5 rps: 15 need three, whatever the other stage can do.
    other = Role.DECODE if ours is Role.PREFILL else Role.PREFILL
    views = [
        view(pool("ours", ours, max_replicas=8), load_rps={CHAT: 15.0}),
        view(sized("theirs", other), 1, wish=2, load_rps={CHAT: 15.0}),
    ]
    decision = decide(views, {"chat": 15.0})
    assert dict(decision.replicas) == {"ours": 3, "theirs": 2}
    assert decision.class_reasons[CHAT].startswith("offered 15.0 rps, served within SLO 15.0")
    assert decision.shares is not None
    assert set(decision.shares[CHAT]) == {"prefill", "decode"}


def test_classes_go_to_wishing_pools_that_can_serve_them() -> None:
    able, unable = view(sized("a"), 2, wish=2), view(sized("b"), 2, wish=2, capacity_rps={})
    shares = decide([able, unable], {"chat": 5.0}).shares
    assert shares is not None
    (by_pool,) = [stage for stage in shares[CHAT].values() if stage]
    assert dict(by_pool) == {"a": 1.0}


def test_wishes_travel_and_impossible_ones_are_refused() -> None:
    for wish in (None, 0, 7):
        said = report("a", 1, wish=wish)
        assert decode_report(encode_report(said)).wish == wish
    check_report(report("a", 1, wish=1_000_000))
    with pytest.raises(ValueError, match="wish must be at most 1e\\+06"):
        check_report(report("a", 1, wish=1_000_001))
    message = encode_report(report("a", 1))
    message.wish = -1
    with pytest.raises(ValueError, match="wish must be a finite number >= 0"):
        decode_report(message)


def test_an_explanation_names_who_has_to_ask_for_something_else() -> None:
    live = Wishing(fleet([sized("a")]))
    live.ask(wish=3)
    explainer = Explainer(live.planner, History(), wall_s=live.clock.wall_s, unix_s=lambda: 0.0)
    text = "\n".join(explainer.pool(PoolId("a")).lines)
    assert "3: asked for 3 by its own planner, by its target latency" in text
    assert "to change   its own planner (target latency) has to ask for another number" in text
    assert "worth" not in text
