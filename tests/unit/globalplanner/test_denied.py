"""Who is denied GPUs and what for, and how that is counted."""

from typing import Any

import pytest

from globalplanner.core.budget.denied import Denial, denials
from globalplanner.core.budget.ledger import Ledger
from globalplanner.metrics import Metrics, Write
from globalplanner.standing import Standing
from tests.unit.globalplanner.decisions import A, B
from tests.unit.globalplanner.fleets import fleet, pool, report
from weir.domain.decision import Outcome
from weir.domain.fleet import NodeGroup
from weir.domain.overrides import Overrides

FLEET = fleet(
    [pool("a", gpus_per_replica=2), pool("b")],
    gpus=6,
    node_groups=[NodeGroup(name="nodes", gpu_class="gpu", gpus=8)],
)


class Book:
    """A ledger of term 7 whose pools run one replica each and obey; a has 2 GPUs a replica."""

    def __init__(self) -> None:
        self.ledger = Ledger(FLEET, term=7, valid_s=15.0)
        self.sequence = 0

    def settle(self, **changes: Any) -> "Book":
        """Both pools report twice: what they found, then that they act on it."""
        for _ in range(2):
            for id in (A, B):
                self.report(id, ready=1, **changes)
        return self.write()

    def report(self, pool_id: str, **changes: Any) -> None:
        granted = self.ledger.accounts[A if pool_id == "a" else B].newest
        own = granted is not None and granted.term == 7
        acted = (7, granted.epoch, granted.replicas) if granted and own else (0, 0, 0)
        self.sequence += 1
        self.ledger.report(report(pool_id, self.sequence, **({"acted": acted} | changes)), 1.0)

    def write(self) -> "Book":
        self.ledger.written(self.ledger.epoch)
        return self

    def aim(self, a: int, b: int) -> "Book":
        self.ledger.aim({A: a, B: b}, {})
        return self

    def denied(self, **prices: float) -> set[tuple[str, str]]:
        wanted = {id: account.target for id, account in self.ledger.accounts.items()}
        return set(denials(self.ledger.accounts, self.ledger.limits, wanted, prices))


def test_nobody_is_denied_anything_who_has_what_it_is_to_have() -> None:
    assert Book().settle().denied(budget=0.0) == set()


def test_a_price_means_that_growth_is_denied_by_that_limit() -> None:
    assert Book().settle().denied(budget=1.5) == {("budget", Denial.LIMIT)}


def test_a_grant_that_is_not_in_the_record_waits_for_the_write() -> None:
    book = Book().settle().aim(2, 1)
    assert book.denied() == {("a", Denial.WRITE)}
    assert book.write().denied() == set()


def test_gpus_that_another_pool_still_holds_have_to_be_released() -> None:
    book = Book().settle().aim(1, 4).write()
    book.report("b", ready=4)
    book.aim(2, 2)  # 2 + 2 GPUs are to move to a; b has not let go of its four
    assert book.denied() == {("a", Denial.RELEASE)}


def test_what_nobody_knows_of_others_counts_as_their_maximum() -> None:
    book = Book()
    for _ in range(2):
        book.report("a", ready=1)
    book.write().aim(2, 1)  # 4 for a and at most 4 for b are more than 6
    assert ("a", Denial.UNKNOWN) in book.denied()


def test_a_pool_that_has_withdrawn_is_denied_for_that() -> None:
    book = Book().settle()
    book.report("a", ready=1, withdrawn=True)
    book.aim(2, 1)
    assert book.denied() == {("a", Denial.WITHDRAWN)}


def test_what_waits_for_a_person_is_denied_by_that() -> None:
    ledger = Book().settle().ledger
    found = denials(ledger.accounts, ledger.limits, {A: 2, B: 1}, {})
    assert found == {("a", Denial.APPROVAL)}


class Board:
    def __init__(self) -> None:
        self.metrics = Metrics([A, B])

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"weir_globalplanner_{name}", labels)


@pytest.fixture
def board() -> Board:
    return Board()


def test_gpus_are_shown_by_pool_and_by_limit(board: Board) -> None:
    book = Book().settle().aim(1, 4).write()
    book.report("b", ready=4)
    board.metrics.show_gpus(book.aim(3, 3).ledger, {A: 3, B: 3}, {"budget": 0.5})
    assert board.value("limit_gpus", limit="budget") == 6.0
    assert board.value("limit_charged_gpus", limit="node group nodes") == 6.0
    assert board.value("gpu_price_rps", limit="budget") == 0.5
    assert board.value("gpu_price_rps", limit="node group nodes") == 0.0
    assert board.value("granted_gpus", pool="a") == 2.0
    assert board.value("pending_gpus", pool="a") == 4.0  # two replicas of two GPUs
    assert board.value("pending_gpus", pool="b") == 0.0


def test_a_denial_counts_when_it_begins_and_not_while_it_lasts(board: Board) -> None:
    book = Book().settle().aim(2, 1)
    for _ in range(3):
        board.metrics.show_gpus(book.ledger, {A: 2, B: 1}, {})
    assert board.value("denied_total", reason="write") == 1.0
    board.metrics.show_gpus(book.write().ledger, {A: 2, B: 1}, {})
    board.metrics.show_gpus(book.aim(2, 2).ledger, {A: 2, B: 2}, {})
    assert board.value("denied_total", reason="write") == 2.0


def test_labels_are_there_before_they_count(board: Board) -> None:
    assert [board.value("denied_total", reason=r) for r in Denial] == [0.0] * len(Denial)
    assert [board.value("outcomes_total", outcome=o) for o in Outcome] == [0.0] * len(Outcome)


def test_who_leads_no_more_shows_nothing_of_the_pools(board: Board) -> None:
    board.metrics.leads(7)
    board.metrics.show_gpus(Book().settle().ledger, {}, {})
    assert board.value("granted_gpus", pool="a") == 2.0
    board.metrics.leads(0)
    assert board.value("granted_gpus", pool="a") is None
    assert board.value("limit_gpus", limit="budget") is None
    assert board.value("term") == 0.0


def test_a_pool_that_has_left_the_fleet_leaves_the_metrics(board: Board) -> None:
    for pools in ([pool("a"), pool("b")], [pool("b")]):
        board.metrics.show_gpus(Ledger(fleet(pools), term=7, valid_s=15.0), {}, {})
    assert board.value("granted_gpus", pool="a") is None
    assert board.value("granted_gpus", pool="b") == 0.0


def test_only_writes_that_are_confirmed_count_in_their_time(board: Board) -> None:
    board.metrics.wrote(Write.WRITTEN, 0.003)
    board.metrics.wrote(Write.FAILED, 1.0)
    assert board.value("record_writes_total", outcome="written") == 1.0
    assert board.value("record_writes_total", outcome="failed") == 1.0
    assert board.value("record_write_seconds_sum") == 0.003


def test_a_standing_without_pools_empties_what_is_shown_by_pool(board: Board) -> None:
    board.metrics.show(
        Standing(
            term=0, budget_gpus=6, charged_gpus=0, peak_charged_gpus=0, violations=0, pools=[],
            changes=[], plan=None, holding="", overrides=Overrides(), mode="act",
        )
    )  # fmt: skip
    assert board.value("report_age_seconds", pool="a") is None
    assert board.value("budget_gpus") == 6.0
