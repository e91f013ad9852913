"""A ledger whose document changes, or that goes on from another leader's record."""

import dataclasses

import pytest

from globalplanner.core.budget.ledger import Ledger
from tests.unit.globalplanner.fleets import fleet, pool, report
from weir.domain.errors import InfeasibleFloorsError, UnknownPoolError
from weir.domain.fleet import NodeGroup, PoolSpec
from weir.domain.ids import PoolId
from weir.domain.planning import Grant
from weir.domain.record import LedgerRecord

A, B, C = PoolId("a"), PoolId("b"), PoolId("c")


class Pools:
    """Pools that run at once what they are granted."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.sequence = 0
        self.acted: dict[PoolId, Grant] = {}

    def report(self, id: PoolId, ready: int | None = None, **changes: object) -> int:
        """What the pool is granted after it has said what it acts on and runs."""
        self.sequence += 1
        grant = self.acted.get(id)
        acted = (grant.term, grant.epoch, grant.replicas) if grant else (0, 0, 0)
        running = ready if ready is not None else acted[2]
        message = report(id, self.sequence, ready=running, acted=acted)
        self.ledger.report(dataclasses.replace(message, **changes), 0.0)  # type: ignore[arg-type]
        self.write()
        sendable = self.ledger.accounts[id].sendable if id in self.ledger.accounts else None
        if sendable is not None:
            self.acted[id] = sendable
        return sendable.replicas if sendable is not None else 0

    def write(self) -> None:
        self.ledger.written(self.ledger.epoch)

    def settle(self, **replicas: int) -> None:
        targets = {PoolId(id): count for id, count in replicas.items()}
        for _ in range(3):
            for id in targets:
                self.report(id)
            self.ledger.aim(targets, {})
            self.write()

    def record(self) -> LedgerRecord:
        ledger = self.ledger
        return LedgerRecord(term=ledger.term, owner="x", serial=1, pools=ledger.lines())


def pools(*specs: PoolSpec, gpus: int = 8, record: LedgerRecord | None = None) -> Pools:
    term = record.term + 1 if record is not None else 1
    return Pools(Ledger(fleet(specs, gpus=gpus), term=term, valid_s=15.0, record=record))


def charged(ledger: Ledger) -> dict[str, int]:
    return {str(id): account.charged for id, account in ledger.accounts.items()}


# --- from leader to leader -----------------------------------------------------------------


def test_the_next_leader_charges_silent_pools_what_the_record_says() -> None:
    first = pools(pool("a"), pool("b"))
    first.settle(a=3, b=2)
    second = pools(pool("a"), pool("b"), record=first.record())
    assert charged(second.ledger) == {"a": 3, "b": 2}
    assert second.ledger.unsettled == ()


def test_a_grant_that_may_be_on_its_way_counts_for_the_next_leader() -> None:
    first = pools(pool("a"), pool("b"))
    first.settle(a=1, b=1)
    first.ledger.aim({A: 4}, {})
    second = pools(pool("a"), pool("b"), record=first.record())
    assert charged(second.ledger) == {"a": 4, "b": 1}


def test_replicas_that_were_leaving_count_for_the_next_leader() -> None:
    first = pools(pool("a"), pool("b"))
    first.settle(a=4, b=1)
    first.ledger.aim({A: 1}, {})
    first.report(A)
    first.report(A, 4)
    assert charged(first.ledger)["a"] == 4
    second = pools(pool("a"), pool("b"), record=first.record())
    assert charged(second.ledger)["a"] == 4


def test_a_report_that_the_leader_before_has_read_already_changes_nothing() -> None:
    first = pools(pool("a"), pool("b"))
    first.settle(a=2, b=1)
    early = report(A, first.sequence - 2, ready=0)
    second = pools(pool("a"), pool("b"), record=first.record())
    assert second.ledger.report(early, 0.0).grant is None
    assert charged(second.ledger)["a"] == 2


def test_a_record_older_than_what_a_pool_acts_on_is_not_believed() -> None:
    first = pools(pool("a"), pool("b"))
    first.settle(a=1, b=1)
    old = first.record()
    third = pools(pool("a"), pool("b"), record=dataclasses.replace(old, term=8))
    late = report(A, 1000, ready=1, acted=(5, 1, 1))
    assert third.ledger.report(late, 0.0).changed
    assert third.ledger.unsettled == ()
    again = Pools(Ledger(fleet([pool("a"), pool("b")]), term=9, valid_s=15.0, record=old))
    again.ledger.report(late, 0.0)
    assert again.ledger.unsettled == ("a", "b"), "grants of terms 2 to 5 are not in the record"


# --- withdrawal ----------------------------------------------------------------------------


def test_a_pool_that_cannot_start_more_gives_the_rest_back() -> None:
    both = pools(pool("a", max_replicas=6), pool("b", max_replicas=6), gpus=6)
    both.settle(a=4, b=2)
    both.ledger.aim({A: 4, B: 4}, {})
    assert both.report(A, 2, withdrawn=True, acted_replicas=2) == 2
    both.report(A, 2, withdrawn=True)
    assert both.report(B) == 4
    assert "withdrawn" in both.ledger.waits_for(A)


# --- the document changes ------------------------------------------------------------------


def test_a_pool_that_leaves_the_document_counts_until_it_is_gone() -> None:
    both = pools(pool("a"), pool("b", max_replicas=8), gpus=6)
    both.settle(a=4, b=2)
    both.ledger.revise(fleet([pool("b", max_replicas=8)], gpus=6))
    both.ledger.aim({B: 6}, {})
    assert both.report(B) == 2
    assert both.report(A) == 0
    assert both.report(B) == 2, "a has not said that it has let go"
    both.report(A, 1)
    assert both.report(B) == 5
    both.report(A, 0)
    assert A not in both.ledger.accounts
    assert both.report(B) == 6
    with pytest.raises(UnknownPoolError):
        both.report(A)


def test_a_new_pool_has_nothing_that_nobody_knows_of() -> None:
    first = pools(pool("a"))
    first.settle(a=4)
    second = pools(pool("a"), record=first.record(), gpus=6)
    second.ledger.revise(fleet([pool("a"), pool("c")], gpus=6))
    assert second.ledger.unsettled == ()


def test_what_was_never_heard_counts_even_when_the_document_has_it_no_more() -> None:
    # The store was lost: whoever led before may have given c anything up to its maximum.
    both = pools(pool("a", max_replicas=8), pool("c"), gpus=6)
    both.ledger.revise(fleet([pool("a", max_replicas=8)], gpus=6))
    both.settle(a=6)
    assert both.report(A) == 2
    both.ledger.forget(C)
    assert both.report(A) == 6
    with pytest.raises(UnknownPoolError):
        both.ledger.forget(A)


def test_gpus_per_replica_change_only_when_nothing_of_the_old_may_run() -> None:
    one = pools(pool("a"), gpus=8)
    one.settle(a=2)
    larger = pool("a", gpus_per_replica=4, min_replicas=0)
    one.ledger.revise(fleet([larger], gpus=8))
    assert one.ledger.charged_gpus == 2
    assert "1 x gpu in nodes became 4 x gpu" in one.ledger.waits_for(A)
    one.ledger.aim({A: 0}, {})
    one.report(A)
    one.report(A, 0)
    one.ledger.aim({A: 1}, {})
    assert one.report(A, 0) == 1
    assert one.ledger.charged_gpus == 4


def test_a_pool_that_does_not_fit_its_document_can_still_be_taken_out_of_it() -> None:
    both = pools(pool("a"), pool("b"), gpus=8)
    both.settle(a=2, b=2)
    both.ledger.revise(fleet([pool("a", gpus_per_replica=2), pool("b")], gpus=8))
    assert both.ledger.accounts[A].misfit
    both.ledger.revise(fleet([pool("b")], gpus=8))
    assert both.ledger.accounts[A].misfit == ""
    assert both.report(A) == 0


def test_the_first_report_settles_what_only_a_wrong_document_has_said() -> None:
    # The store was lost and the document was wrong: 2 GPUs for each of at most 4 replicas.
    one = pools(pool("a", gpus_per_replica=2, max_replicas=4), gpus=8)
    one.ledger.revise(fleet([pool("a", max_replicas=4)], gpus=8))
    assert one.ledger.waits_for(A)
    assert one.report(A, 3, gpus_per_replica=1) == 3
    assert (one.ledger.accounts[A].misfit, one.ledger.charged_gpus) == ("", 3)


def test_a_lower_budget_is_reached_step_by_step_and_nobody_grows_meanwhile() -> None:
    both = pools(pool("a"), pool("b"), gpus=8)
    both.settle(a=4, b=4)
    both.ledger.revise(fleet([pool("a"), pool("b")], gpus=4))
    both.ledger.aim({A: 2, B: 2}, {})
    assert (both.report(A), both.report(B)) == (2, 2)
    both.ledger.aim({A: 3, B: 1}, {})
    assert both.report(A) == 2
    assert both.ledger.violations == 1


def test_floors_that_do_not_fit_are_refused_and_change_nothing() -> None:
    both = pools(pool("a"), pool("b"), gpus=8)
    both.settle(a=2, b=2)
    with pytest.raises(InfeasibleFloorsError):
        both.ledger.revise(fleet([pool("a", min_replicas=4), pool("b")], gpus=4))
    assert both.ledger.limits[0].most == 8


def test_gpus_that_others_hold_are_not_to_be_had() -> None:
    group = NodeGroup(name="nodes", gpu_class="gpu", gpus=6, foreign_gpus=3)
    whole = fleet([pool("a")], gpus=8, node_groups=[group])
    one = Pools(Ledger(whole, term=1, valid_s=15.0))
    one.settle(a=4)
    assert one.report(A) == 3


def test_a_first_report_counts_whatever_its_number_is() -> None:
    one = pools(pool("a"))
    one.ledger.report(report(A, 0, ready=3), 0.0)
    assert charged(one.ledger) == {"a": 3}
