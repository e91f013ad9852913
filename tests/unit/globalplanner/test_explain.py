"""What is told of pools, classes and decisions to whoever asks at night."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from globalplanner.core.arbiter.snapshot import Alternative, Decision, Lull, Memory, Rules, Snapshot
from globalplanner.core.budget.ledger import Ledger
from globalplanner.core.operators.proposals import Gate, Mode
from globalplanner.decisions.explain import Explainer
from globalplanner.decisions.history import History
from tests.unit.globalplanner.decisions import A, B, decision, record
from tests.unit.globalplanner.fleets import (
    CHAT,
    fleet,
    load,
    pool,
    report,
    request_class,
    snapshot,
    view,
)
from weir.domain.errors import (
    UnavailableError,
    UnknownClassError,
    UnknownDecisionError,
    UnknownPoolError,
)
from weir.domain.fleet import Role, Stage
from weir.domain.ids import ClassName, PoolId
from weir.domain.overrides import ClassTargets, Overrides
from weir.domain.planning import RoutingPlan

FLEET = fleet([pool("a", gpus_per_replica=2), pool("b")], gpus=6)


@dataclass
class Stand:
    """What a GlobalPlanner knows at wall second 100: two pools, of which both have reported."""

    ledger: Ledger | None
    snapshot: Snapshot
    latest: Decision | None = None
    overrides: Overrides = field(default_factory=Overrides)
    rules: Rules = field(default_factory=Rules)
    plan: RoutingPlan | None = None
    gate: Gate = field(default_factory=Gate)

    def moment(self) -> Snapshot | None:
        return self.snapshot if self.ledger is not None else None

    def not_ready(self) -> str | None:
        return None if self.ledger is not None else "stands by, another one leads"


def ledger(**targets: int) -> Ledger:
    """Both pools run one replica and act on grants of this term, and are to have `targets`."""
    kept = Ledger(FLEET, term=7, valid_s=15.0)
    for sequence in (1, 2):
        for id in (A, B):
            granted = kept.accounts[id].newest
            acted = (7, granted.epoch, granted.replicas) if granted else (0, 0, 0)
            kept.report(report(id, sequence, ready=1, acted=acted), 98.0)
    kept.written(kept.epoch)
    kept.aim({PoolId(id): count for id, count in targets.items()}, {A: "1 -> 2: offered 8 rps"})
    return kept


def stand(**changes: Any) -> Stand:
    pools = [view(spec, 1) for spec in FLEET.pools]
    fields: dict[str, Any] = {
        "ledger": ledger(),
        "snapshot": snapshot(pools, {"chat": 4.0}, whole=FLEET, now_s=50.0),
        "latest": decision(replicas={A: 1, B: 1}, prices={"budget": 0.0}, alternatives=()),
    }
    return Stand(**(fields | changes))


def explainer(here: Stand, *records: Any) -> Explainer:
    history = History()
    for each in records:
        history.keep(each)
    return Explainer(here, history, wall_s=lambda: 100.0, unix_s=lambda: 1_061.0)


def told(here: Stand, pool_id: str, *records: Any) -> str:
    return "\n".join(explainer(here, *records).pool(PoolId(pool_id)).lines)


def test_a_pool_at_rest_says_what_it_has_and_what_was_decided_last() -> None:
    assert told(stand(), "a", record(1)).splitlines() == [
        "pool a: agg, model m, 2 x gpu a replica",
        "has         1 ready, 0 starting, 0 terminating; 2 GPUs charged; reported 2 s ago",
        "granted     1 of 1 wanted (minimum 1, floor 1, guarantee 1, maximum 4)",
        "why         1 -> 2: offered 8 rps",
        "last        1 -> 2 in decision 7.1, acted on, 1970-01-01 00:16:41 UTC, 60 s ago",
        "limits      budget: 3 of 6 GPUs charged",
        "worth       one more replica here, and nowhere else, would add nothing",
        "to change   more replicas: more demand than these carry at 80 %",
        "            fewer replicas: a lower minimum than 1",
    ]


def test_the_decision_that_changed_a_pool_last_comes_with_it() -> None:
    quiet = tuple(replace(p, before=p.after) for p in record().pools)
    here = explainer(stand(), record(1), record(2, pools=quiet))
    assert here.pool(A).record == record(1)
    assert here.pool(B).record is None
    assert "no change of its replicas is on record" in "\n".join(here.pool(B).lines)


def test_a_pool_short_of_gpus_is_told_who_has_them_and_what_one_more_is_worth() -> None:
    made = decision(
        replicas={A: 1, B: 1},
        reasons={A: "1: offered 8 rps, the GPUs are used up", B: "1: offered 9 rps"},
        prices={"budget": 1.7},
        alternatives=(
            Alternative(words="a 1 -> 2", value=1.2, why_not="b would lose 1.9 rps"),
            Alternative(words="ab 1 -> 2", value=9.0, why_not="another pool altogether"),
        ),
    )
    busy = stand(ledger=ledger(a=1, b=4), latest=made)
    busy.snapshot = replace(busy.snapshot, loads={CHAT: load(40.0)})  # a replica carries 5 of them
    text = told(busy, "a")
    assert "why         1: offered 8 rps, the GPUs are used up" in text
    assert "limits      budget: 6 of 6 GPUs charged; one more would add 1.7 req/s" in text
    assert "worth       one more replica here would add 5 req/s, 2.5 req/s a GPU" in text
    lost = "one replica fewer there would lose 5 req/s, 5 req/s a GPU"
    assert f"GPUs are at b, 4: {lost} (1: offered 9 rps)" in text
    assert "not done    a 1 -> 2, which would add 1.2 req/s: b would lose 1.9 rps" in text
    assert "another pool altogether" not in text
    assert "to change   more GPUs under budget, or less demand for those that hold them" in text


def test_at_its_maximum_a_pool_is_told_that_and_not_who_has_the_gpus() -> None:
    made = decision(replicas={A: 4, B: 1}, prices={"budget": 1.7})
    kept = ledger(a=4)
    text = told(stand(ledger=kept, latest=made), "a")
    assert "a higher maximum than 4" in text
    assert "GPUs are at" not in text


def test_a_pool_that_waits_for_a_release_is_told_whose() -> None:
    kept = ledger(a=1, b=4)
    kept.written(kept.epoch)
    grown = kept.accounts[B].newest
    assert grown is not None
    kept.report(report("b", 3, ready=4, acted=(7, grown.epoch, 4)), 99.0)
    kept.aim({A: 2, B: 2}, {})  # a needs 2 GPUs more: 2 held by a, 4 by b, 6 in all
    text = told(stand(ledger=kept, latest=decision(replicas={A: 2, B: 2}, prices={})), "a")
    assert "granted     1 of 2 wanted" in text
    assert "waits for   b to release GPUs" in text


def test_a_pool_whose_grant_is_not_in_the_record_waits_for_that() -> None:
    text = told(stand(ledger=ledger(a=2), latest=decision(prices={})), "a")
    assert "waits for   the record to be written" in text


def test_a_frozen_pool_says_why_and_that_it_can_be_thawed() -> None:
    text = told(stand(overrides=Overrides(frozen={A: "node repair, ask Kim"})), "a")
    assert "waits for   nothing, it is frozen: node repair, ask Kim" in text
    assert "to change   thaw it" in text
    assert "more demand" not in text


def test_a_drained_pool_says_why_and_that_it_can_be_undone() -> None:
    text = told(stand(overrides=Overrides(drained={A: ""})), "a")
    assert "waits for   nothing, it is drained: no reason given" in text
    assert "to change   undo the drain" in text


def test_an_idle_pool_says_when_it_will_shrink() -> None:
    lull = Lull(since_s=30.0, replicas=1)  # 20 s ago, of 60
    made = decision(replicas={A: 2, B: 1}, memory=Memory(lulls={A: lull}), prices={})
    text = told(stand(ledger=ledger(a=2), latest=made), "a")
    assert "fewer replicas: 1 will do in 40 s unless more is needed until then" in text


def test_a_decision_that_waits_for_approval_is_what_the_pool_waits_for() -> None:
    made = decision(replicas={A: 2, B: 1}, prices={})
    text = told(stand(latest=made, gate=Gate(Mode.APPROVE)), "a")
    assert "waits for   approval: 1 -> 2 is decided" in text


def test_while_demand_is_unknown_the_pool_waits_for_that() -> None:
    here = stand()
    here.snapshot = replace(here.snapshot, loads=None, holding="no traffic telemetry yet")
    assert "waits for   what is not known: no traffic telemetry yet" in told(here, "a")


def test_a_pool_that_has_not_reported_says_so() -> None:
    text = told(stand(ledger=Ledger(FLEET, term=7, valid_s=15.0)), "a")
    assert "nobody knows what: it has not reported to this leader" in text
    assert "to change   its pool planner has to report" in text


def test_a_class_says_what_is_offered_and_where_it_goes() -> None:
    plan = RoutingPlan(
        term=7, version=1, shares={CHAT: {Stage.PREFILL: {A: 0.75, B: 0.25}}}, spill={}
    )
    lines = explainer(stand(plan=plan)).of_class(CHAT).lines
    assert lines == (
        "class chat: TTFT 1000 ms, ITL 50 ms, weight 1, priority 0",
        "offered     4 req/s forecast, 4 req/s planned for; 1000 tokens in, 200 out",
        "why         9 of 12 rps are served",
        "prefill     goes to a 75 %, b 25 %",
        "            m: a 5 req/s a replica, 1 ready, b 5 req/s a replica, 1 ready",
    )


def test_a_class_that_nobody_can_serve_says_which_stage_lacks_a_pool_and_what_helps() -> None:
    whole = fleet([pool("p", Role.PREFILL), pool("d", Role.DECODE)], gpus=6)
    pools = [view(whole.pools[0]), view(whole.pools[1], capacity_rps={})]
    here = stand(snapshot=snapshot(pools, {"chat": 4.0}, whole=whole))
    text = "\n".join(explainer(here).of_class(CHAT).lines)
    assert "prefill     m: p 5 req/s a replica, 1 ready" in text
    assert "decode      m: no pool can serve it within SLO, of d" in text
    assert "to change   a longer ITL, shorter prompts, or a faster decode pool of m" in text


def test_targets_that_operators_have_set_are_marked() -> None:
    changed = request_class(weight=3.0)
    here = stand(overrides=Overrides(targets={CHAT: ClassTargets(weight=3.0)}))
    here.snapshot = replace(here.snapshot, classes=(changed,))
    assert (
        explainer(here).of_class(CHAT).lines[0].endswith("weight 3, priority 0 (set by operators)")
    )


def test_a_decision_says_all_that_is_kept_of_it() -> None:
    explanation = explainer(stand(), record(1), record(2)).decision("7.1")
    assert explanation.record == record(1)
    assert explanation.lines == (
        "decision 7.1: acted on",
        "when        1970-01-01 00:16:41 UTC, 60 s ago",
        "GPUs        2 of 3 charged",
        "worth       9 req/s within SLO, weighted; 75 % of 12 req/s that could be served",
        "changed     a 1 -> 2: offered 8 rps",
        "unchanged   b 1",
        "classes     chat: 9 of 12 rps are served",
        "not done    b 1 -> 2, which would add 1.5 req/s: the budget is used up",
        "prices      one more GPU under budget would add 1.5 req/s",
        "routing     plan 7.4",
        f"inputs      SHA-256 {'ab' * 32}",
    )


def test_the_last_decisions_come_newest_first() -> None:
    lines = explainer(stand(), record(1), record(2, pools=())).recent().lines
    assert [line.split()[0] for line in lines] == ["decision", "7.2", "7.1"]
    assert lines[1].endswith("the routing plan")
    assert lines[2].endswith("a 1 -> 2")


def test_what_is_not_known_is_refused_with_what_is() -> None:
    here = explainer(stand(), record(1))
    with pytest.raises(UnknownPoolError, match="no pool 'z' in this fleet; there are a, b"):
        here.pool(PoolId("z"))
    with pytest.raises(UnknownClassError, match="no class 'z' in this fleet; there are chat"):
        here.of_class(ClassName("z"))
    with pytest.raises(UnknownDecisionError, match=r"'7\.9' is kept here; there are 7\.1"):
        here.decision("7.9")


def test_who_does_not_lead_cannot_tell() -> None:
    here = explainer(stand(ledger=None), record(1))
    for ask in (here.recent, lambda: here.pool(A), lambda: here.decision("7.1")):
        with pytest.raises(UnavailableError, match="stands by, another one leads"):
            ask()
