"""Which reports are believed. Numbers just within and just beyond what can be true."""

from typing import Any

import pytest

from globalplanner.core.report import check_document, check_report, known_classes_only
from tests.unit.globalplanner.fleets import CHAT, LONG, load, pool, report
from weir.domain.fleet import Role
from weir.domain.ids import ClassName
from weir.domain.planning import PoolState


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"capacity_rps": {CHAT: 2e9}}, r"capacity_rps\[chat\]"),
        ({"capacity_rel_std": 2e9}, "capacity_rel_std"),
        ({"backlog_replica_s": 2e9}, "backlog_replica_s"),
        ({"telemetry_age_s": 2e9}, "telemetry_age_s"),
        ({"ttft_s": 2e9}, "ttft_s"),
        ({"itl_s": 2e9}, "itl_s"),
        ({"start_up_s": 2e9}, "start_up_s"),
        ({"load": (load(2e9),)}, r"load\[chat\]\.rate_rps"),
        ({"load": (load(1.0), load(2.0))}, "load names a class twice: chat"),
        ({"acted": (0, 0, 1_000_001)}, "acted_replicas"),
        ({"acted": (10**15 + 1, 0, 0)}, "acted_term"),
        ({"acted": (0, 10**16 + 1, 0)}, "acted_epoch"),
        ({"state": PoolState(ready=600_000, starting=600_000, terminating=0)}, "state"),
        ({"pool_id": "x" * 254}, "pool_id"),
        ({"capacity_rps": {ClassName(f"c{n}"): 1.0 for n in range(1001)}}, "capacity_rps"),
        ({"load": (load(1.0, "y" * 254),)}, "load"),
    ],
)
def test_what_is_out_of_all_proportion_is_named(changes: dict[str, Any], field: str) -> None:
    fields = {"pool_id": "a", "sequence": 1} | changes
    with pytest.raises(ValueError, match=field):
        check_report(report(**fields))


def test_a_sequence_that_would_silence_the_pool_is_refused() -> None:
    check_report(report("a", 10**16))
    with pytest.raises(ValueError, match="sequence"):
        check_report(report("a", 10**16 + 1))


def test_a_pool_may_act_on_the_term_of_this_leader_whatever_it_is() -> None:
    acts = report("a", 1, acted=(10**15 + 5, 1, 1))
    check_report(acts, term=10**15 + 5)
    with pytest.raises(ValueError, match="acted_term"):
        check_report(acts, term=10**15 + 4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"role": Role.DECODE}, "role is decode, but agg in the document here"),
        ({"gpus_per_replica": 2}, "gpus_per_replica is 2, but 1 in the document here"),
    ],
)
def test_a_planner_with_another_document_is_found_out(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_document(report("a", 1, **changes), [pool("a")])


def test_what_is_not_said_contradicts_nothing() -> None:
    check_document(report("a", 1), [pool("a", Role.PREFILL, gpus_per_replica=8)])


def test_while_a_document_changes_the_pool_may_be_as_it_was_or_as_it_will_be() -> None:
    both = [pool("a", gpus_per_replica=4), pool("a", gpus_per_replica=2)]
    for gpus in (2, 4):
        check_document(report("a", 1, gpus_per_replica=gpus), both)
    with pytest.raises(ValueError, match="gpus_per_replica is 8, but 4"):
        check_document(report("a", 1, gpus_per_replica=8), both)


def test_a_pool_that_the_document_has_lost_can_contradict_nothing() -> None:
    check_document(report("a", 1, gpus_per_replica=8, role=Role.DECODE), [])


def test_a_class_of_a_newer_document_is_left_out_and_the_rest_counts() -> None:
    new = ClassName("new")
    whole = report("a", 1, capacity_rps={CHAT: 5.0, new: 3.0}, load=(load(1.0), load(2.0, "new")))
    known, strange = known_classes_only(whole, {CHAT, LONG})
    assert strange == {new}
    assert known.capacity_rps == {CHAT: 5.0}
    assert [each.name for each in known.load] == [CHAT]
    assert known.state == whole.state
    assert known_classes_only(known, {CHAT, LONG}) == (known, frozenset())
