"""What is kept of a decision, in every form it is kept in."""

from dataclasses import replace

import orjson
import pytest

from globalplanner.core.arbiter.snapshot import Rules
from globalplanner.core.digest import digest_of
from globalplanner.decisions.decided import record_of
from globalplanner.decisions.history import History
from tests.unit.globalplanner.decisions import A, B, decided, decision, record
from weir import codec
from weir.domain.decision import Outcome

WEIGHED = record()
HELD = record(value=None, full_value=None, plan_version=None, holding="no traffic telemetry yet")


def test_a_record_says_what_was_decided_and_from_what() -> None:
    made = decided()
    digest = digest_of(made.snapshot, Rules())
    assert record_of(made, Rules()) == record(inputs_digest=digest)


def test_advice_is_recorded_as_what_it_says_though_nothing_is_done() -> None:
    advice = decided(after={A: 1, B: 1}, outcome=Outcome.ADVISED)
    changes = {p.pool_id: (p.before, p.after) for p in record_of(advice, Rules()).pools}
    assert changes == {A: (1, 2), B: (1, 1)}


def test_what_is_acted_on_is_recorded_as_far_as_it_was_let() -> None:
    forced = decided(after={A: 1, B: 1}, outcome=Outcome.ACTED)
    assert [p.after for p in record_of(forced, Rules()).pools] == [1, 1]


def test_a_value_that_was_not_weighed_is_unknown() -> None:
    kept = record_of(decided(decision=decision(holding="no traffic telemetry yet")), Rules())
    assert (kept.value, kept.full_value) == (None, None)


@pytest.mark.parametrize("kept", [WEIGHED, HELD], ids=["weighed", "held"])
def test_messages_and_lines_give_back_what_was_put_in(kept: object) -> None:
    assert isinstance(kept, type(WEIGHED))
    assert codec.decode_decision(codec.encode_decision(kept)) == kept
    assert codec.decision_from_json(codec.decision_json(kept)) == kept


def test_a_line_is_one_json_object_with_the_fields_of_a_record() -> None:
    line = codec.decision_json(WEIGHED)
    assert b"\n" not in line
    found = orjson.loads(line)
    assert found["pools"][0] == {
        "pool_id": "a", "before": 1, "after": 2, "reason": "1 -> 2: offered 8 rps",
    }  # fmt: skip
    assert (found["id"], found["outcome"], found["plan_version"]) == ("7.1", "acted", 4)
    assert orjson.loads(codec.decision_json(HELD))["value"] is None


@pytest.mark.parametrize(
    "line",
    [b"", b"1", b"[]", b"{}", b'{"pools": [], "alternatives": []}', codec.decision_json(HELD)[:-9]],
)
def test_a_line_that_is_no_decision_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        codec.decision_from_json(line)


def test_fields_of_a_later_version_are_passed_over() -> None:
    line = orjson.dumps(orjson.loads(codec.decision_json(WEIGHED)) | {"mood": "good"})
    assert codec.decision_from_json(line) == WEIGHED


def test_later_leaders_decide_later() -> None:
    ids = [(7, 2), (7, 10), (8, 1)]
    assert sorted(record(n, term=t).order for t, n in reversed(ids)) == ids


def test_the_history_keeps_the_newest_and_what_each_pool_was_last_given() -> None:
    history = History(decisions=2, lines=1000)
    quiet = tuple(replace(p, before=p.after) for p in record().pools)
    for number in (1, 2, 3):
        history.keep(record(number, pools=record().pools if number == 1 else quiet))
    assert [r.id for r in history.last(5)] == ["7.3", "7.2"]
    assert (history.find("7.1"), history.find("7.2")) == (None, record(2, pools=quiet))
    change = history.change_of(A)
    assert change is not None
    assert (change.decision_id, change.change.after) == ("7.1", 2)
    assert history.change_of(B) is None


def test_the_history_is_bounded_by_its_lines_but_keeps_one() -> None:
    history = History(decisions=100, lines=1)
    history.keep(record(1))
    history.keep(record(2))
    assert [r.id for r in history.last(5)] == ["7.2"]
