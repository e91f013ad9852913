"""What is charged, and what is granted when. GPUs are one per replica unless said otherwise."""

import dataclasses

import pytest

from globalplanner.core.budget.ledger import Ledger
from tests.unit.globalplanner.fleets import fleet, pool, report
from weir.domain.errors import InfeasibleFloorsError, StaleTermError, UnknownPoolError
from weir.domain.fleet import NodeGroup, PoolSpec
from weir.domain.ids import PoolId
from weir.domain.planning import Grant

A, B = PoolId("a"), PoolId("b")


class Pools:
    """A ledger and, for each pool, the next sequence and the grant it acts on."""

    def __init__(self, *specs: PoolSpec, gpus: int = 8, term: int = 1) -> None:
        self.ledger = Ledger(fleet(specs, gpus=gpus), term=term, valid_s=15.0)
        self._sequence = 0
        self._acted: dict[str, tuple[int, int, int]] = {}

    def report(
        self, pool_id: str, ready: int = 0, *, growing: bool = True, **changes: int
    ) -> Grant | None:
        """The pool takes over what it is granted."""
        grant = self.unheard(pool_id, ready, growing=growing, **changes)
        if grant is not None:
            self._acted[pool_id] = (grant.term, grant.epoch, grant.replicas)
        return grant

    def unheard(
        self, pool_id: str, ready: int = 0, *, growing: bool = True, **changes: int
    ) -> Grant | None:
        """The answer is lost."""
        self._sequence += 1
        acted = self._acted.get(pool_id, (0, 0, 0))
        message = report(pool_id, self._sequence, ready=ready, acted=acted, **changes)
        self.ledger.report(message, 0.0, growing=growing)
        self.ledger.written(self.ledger.epoch)
        return self.ledger.accounts[PoolId(pool_id)].sendable

    def aim(self, growing: bool = True, **replicas: int) -> None:
        targets = {PoolId(id): count for id, count in replicas.items()}
        self.ledger.aim(targets, {PoolId(id): f"{id} wants it" for id in replicas}, growing=growing)

    def granted(self) -> dict[str, int]:
        return {id: account.granted for id, account in self.ledger.accounts.items()}

    def charged(self) -> dict[str, int]:
        return {id: account.charged for id, account in self.ledger.accounts.items()}

    def settle(self, **replicas: int) -> None:
        """Every pool runs exactly this, acknowledged."""
        for pool_id, count in replicas.items():
            self.report(pool_id, count)
        self.aim(**replicas)
        for _ in range(2):
            for pool_id, count in replicas.items():
                self.report(pool_id, count)


def test_at_a_fresh_start_every_pool_gets_its_minimum_once_all_act_on_this_term() -> None:
    pools = Pools(pool("a", min_replicas=2), pool("b"), gpus=4)
    found = pools.report("a")
    assert found is not None
    assert found.replicas == 0
    pools.report("a")
    assert pools.granted() == {"a": 0, "b": 0}
    assert pools.ledger.waits_for(A) == "waits for a first report of b"
    minimum = Grant(pool_id=B, term=1, epoch=3, replicas=1, valid_s=15.0, reason="as found")
    assert pools.report("b") == minimum
    assert pools.granted() == {"a": 0, "b": 1}, "b may act on a grant of an earlier leader"
    pools.report("b", starting=1)
    granted = pools.report("a")
    assert granted is not None
    assert granted.replicas == 2
    assert pools.ledger.violations == 0


def test_growth_does_not_wait_for_pools_whose_maxima_fit_anyhow() -> None:
    pools = Pools(pool("a", max_replicas=4), pool("b", max_replicas=4), gpus=7)
    pools.report("a")
    granted = pools.report("a")
    assert granted is not None
    assert granted.replicas == 1
    pools.aim(a=4)
    assert pools.granted() == {"a": 3, "b": 0}


def test_growth_beyond_the_free_gpus_is_granted_in_part() -> None:
    pools = Pools(pool("a"), pool("b", max_replicas=6), gpus=8)
    pools.settle(a=4, b=1)
    pools.ledger.aim({A: 4, B: 6}, {B: "b wants it"})
    assert pools.granted() == {"a": 4, "b": 4}
    granted = pools.report("b", 1)
    assert granted is not None
    assert granted.reason == "b wants it (4 for now)"


def test_gpus_move_by_release_confirmation_and_grant() -> None:
    pools = Pools(pool("a"), pool("b"), gpus=5)
    pools.settle(a=4, b=1)
    pools.aim(a=2, b=3)
    assert pools.granted() == {"a": 2, "b": 1}
    pools.report("b", 1)
    assert pools.granted() == {"a": 2, "b": 1}, "a has not even heard of it"
    pools.report("a", 4)
    pools.report("a", 2, terminating=2)
    assert pools.granted() == {"a": 2, "b": 1}, "terminating replicas hold their GPUs"
    assert pools.ledger.waits_for(B) == "waits for a to release GPUs"
    pools.report("a", 2, terminating=1)
    assert pools.granted() == {"a": 2, "b": 2}
    pools.report("a", 2)
    assert pools.granted() == {"a": 2, "b": 3}
    assert pools.ledger.waits_for(B) == ""


def test_a_grant_that_may_have_been_lost_stays_charged() -> None:
    pools = Pools(pool("a"), pool("b"), gpus=5)
    pools.settle(a=1, b=1)
    pools.aim(a=4)
    pools.unheard("a", 1)
    pools.aim(a=1, b=4)
    # a acts on a grant of 1, but the one of 4 may be on its way to it.
    assert pools.charged() == {"a": 4, "b": 1}
    assert pools.granted() == {"a": 1, "b": 1}
    pools.report("a", 1)
    assert pools.granted() == {"a": 1, "b": 1}, "a has answered, but does not act on it yet"
    pools.report("a", 1)
    assert pools.granted() == {"a": 1, "b": 4}


def test_a_silent_pool_stays_charged() -> None:
    pools = Pools(pool("a"), pool("b"), gpus=5)
    pools.settle(a=4, b=1)
    pools.aim(a=1, b=4)
    for _ in range(50):
        pools.report("b", 1)
    assert pools.granted()["b"] == 1


def test_what_a_pool_is_seen_to_hold_is_charged_whoever_has_started_it() -> None:
    pools = Pools(pool("a"), pool("b"), gpus=6)
    pools.settle(a=1, b=1)
    pools.report("a", 4)
    pools.aim(b=4)
    assert pools.granted()["b"] == 2


def test_a_report_that_is_not_newer_changes_nothing() -> None:
    pools = Pools(pool("a"), pool("b"), gpus=5)
    pools.settle(a=3, b=1)
    account = pools.ledger.accounts[A]
    assert account.report is not None
    late = dataclasses.replace(account.report, state=report("a", 0).state)
    for sequence in (account.report.sequence, 1):
        receipt = pools.ledger.report(dataclasses.replace(late, sequence=sequence), 1.0)
        assert receipt.grant == account.newest
        assert not receipt.changed
    assert pools.charged()["a"] == 3


def test_after_a_restart_a_pool_counts_with_its_maximum_until_it_acts_on_this_term() -> None:
    pools = Pools(pool("a"), pool("b"), gpus=6, term=2)
    for name in ("a", "b"):
        pools.unheard(name, 1)
    pools.aim(a=2, b=1)
    assert pools.granted() == {"a": 1, "b": 1}
    pools.report("a", 1)
    pools.report("b", 1)
    assert pools.granted() == {"a": 1, "b": 1}
    pools.report("b", 1)
    # b is settled; a may still run up to 4 by a grant of the old leader.
    assert pools.ledger.unsettled == ("a",)
    assert pools.granted() == {"a": 2, "b": 1}, "a's own growth is within its maximum"
    pools.report("a", 1)
    assert pools.ledger.unsettled == ()


def test_after_a_restart_pools_keep_what_they_were_granted_before() -> None:
    pools = Pools(pool("a"), gpus=4, term=2)
    message = report("a", 1, ready=1, starting=1, acted=(1, 7, 3))
    granted = pools.ledger.report(message, 0.0).grant
    assert granted is not None
    assert (granted.term, granted.replicas, granted.reason) == (2, 3, "as found")
    assert pools.charged() == {"a": 3}


def test_a_pool_that_has_forgotten_its_grants_keeps_what_it_runs() -> None:
    pools = Pools(pool("a"), gpus=4, term=2)
    granted = pools.report("a", 2, terminating=1)
    assert granted is not None
    assert granted.replicas == 2
    assert pools.charged() == {"a": 3}


def test_a_pool_that_acts_on_a_later_leaders_grant_deposes_this_one() -> None:
    pools = Pools(pool("a"), term=2)
    with pytest.raises(StaleTermError) as caught:
        pools.ledger.report(report("a", 1, acted=(5, 1, 1)), 0.0)
    assert caught.value.seen_term == 5


def test_a_leader_that_may_be_deposed_lets_nobody_grow_but_everybody_shrink() -> None:
    pools = Pools(pool("a"), pool("b"), gpus=8)
    pools.settle(a=2, b=3)
    pools.aim(growing=False, a=4, b=1)
    assert pools.granted() == {"a": 2, "b": 1}
    pools.report("a", 2, growing=False)
    assert pools.granted() == {"a": 2, "b": 1}
    pools.report("a", 2)
    assert pools.granted() == {"a": 4, "b": 1}


def test_a_pool_that_has_forgotten_its_grants_gets_them_back_only_by_a_write() -> None:
    # A later leader may have given those GPUs away; its write would fail this one's.
    pools = Pools(pool("a"), gpus=8)
    pools.settle(a=3)
    found = pools.ledger.report(report("a", 100, ready=1), 0.0).grant
    assert found is not None
    assert found.replicas == 1
    assert pools.ledger.unwritten
    pools.ledger.written(pools.ledger.epoch)
    assert pools.ledger.accounts[A].sendable.replicas == 3


def test_above_the_budget_nobody_grows_and_everybody_may_shrink() -> None:
    pools = Pools(pool("a"), pool("b"), gpus=5)
    pools.settle(a=2, b=2)
    pools.report("a", 4)
    assert pools.ledger.violations == 1
    pools.aim(a=2, b=3)
    pools.report("a", 3)
    assert pools.granted() == {"a": 2, "b": 2}
    pools.aim(b=1)
    assert pools.granted()["b"] == 1
    pools.report("a", 2)
    assert pools.ledger.violations == 1
    assert pools.ledger.peak_charged_gpus == 6


def test_gpus_per_replica_gpu_classes_and_node_groups_all_count() -> None:
    specs = [
        pool("a", gpus_per_replica=2, gpu_class="H100"),
        pool("b", gpus_per_replica=3, gpu_class="H100", min_replicas=0),
        pool("c", node_group="n1", min_replicas=0),
    ]
    whole = fleet(
        specs,
        gpus=12,
        by_gpu_class={"H100": 7},
        node_groups=[NodeGroup(name="n1", gpu_class="gpu", gpus=2)],
    )
    ledger = Ledger(whole, term=1, valid_s=15.0)
    for spec in specs:
        found = ledger.report(report(spec.id, 1), 0.0).grant
        assert found is not None
        ledger.report(report(spec.id, 2, acted=(1, found.epoch, found.replicas)), 0.0)
    ledger.aim({PoolId("a"): 2, PoolId("b"): 2, PoolId("c"): 4}, {})
    granted = {id: account.granted for id, account in ledger.accounts.items()}
    assert granted == {"a": 2, "b": 1, "c": 2}
    assert ledger.charged_gpus == 4 + 3 + 2


def test_minima_are_granted_before_targets() -> None:
    # a is before b by name and wants all there is, but b is below its minimum.
    pools = Pools(pool("a", max_replicas=8), pool("b", min_replicas=2), gpus=8)
    for pool_id in ("a", "a", "b"):
        pools.report(pool_id, 0)
    pools.ledger.aim({A: 8, B: 2}, {})
    pools.report("b", 0)
    assert pools.granted() == {"a": 6, "b": 2}


def test_floors_that_do_not_fit_are_refused_at_the_start() -> None:
    with pytest.raises(InfeasibleFloorsError, match="floors need 9 GPUs, budget holds 8"):
        Pools(pool("a", min_replicas=4), pool("b", floor_replicas=5, max_replicas=5))
    group = [NodeGroup(name="n1", gpu_class="gpu", gpus=1)]
    with pytest.raises(InfeasibleFloorsError, match="node group n1 holds 1"):
        Ledger(
            fleet([pool("a", min_replicas=2, node_group="n1")], node_groups=group),
            term=1,
            valid_s=1.0,
        )


def test_a_pool_of_another_fleet_is_refused_alone() -> None:
    pools = Pools(pool("a"))
    with pytest.raises(UnknownPoolError, match="no pool 'x'"):
        pools.ledger.report(report("x", 1), 0.0)
    assert pools.report("a") is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ready": 2_000_000}, "state names 2000000 replicas"),
        ({"acted": (1, 0, 2_000_000)}, "acted names 2000000 replicas"),
    ],
)
def test_a_report_that_cannot_be_true_is_refused(changes: dict[str, object], message: str) -> None:
    pools = Pools(pool("a"))
    with pytest.raises(ValueError, match=message):
        pools.ledger.report(report("a", 1, **changes), 0.0)  # type: ignore[arg-type]
    assert pools.charged() == {"a": 0}


def test_a_grant_of_its_term_that_it_never_gave_is_that_of_another_leader() -> None:
    # The store has lost its data, and the number of a term was taken twice.
    pools = Pools(pool("a"), term=5)
    pools.report("a")
    with pytest.raises(StaleTermError):
        pools.ledger.report(report("a", 9, acted=(5, 99, 1)), 0.0)


def test_a_missing_replica_is_started_while_others_still_leave() -> None:
    pools = Pools(pool("a", max_replicas=6), pool("b"), gpus=8)
    pools.settle(a=3, b=1)
    pools.report("a", 1, terminating=2)
    assert pools.granted() == {"a": 5, "b": 1}, "two leave, and two are missing"
    pools.report("a", 1, starting=2, terminating=2)
    assert pools.granted() == {"a": 3, "b": 1}, "nothing is missing any more"
    assert pools.charged() == {"a": 5, "b": 1}, "but until a has acted on that it may start"


def test_what_leaves_is_only_replaced_as_far_as_there_is_room_beside_all_floors() -> None:
    pools = Pools(pool("a", max_replicas=6), pool("b", min_replicas=0, floor_replicas=2), gpus=6)
    pools.settle(a=3, b=0)
    pools.report("a", 1, terminating=2)
    assert pools.granted() == {"a": 4, "b": 0}, "2 of 6 GPUs are set aside for b"


def test_what_leaves_because_less_is_wanted_is_not_replaced() -> None:
    pools = Pools(pool("a"), pool("b"), gpus=8)
    pools.settle(a=4, b=1)
    pools.aim(a=2)
    pools.report("a", 4)
    pools.report("a", 2, terminating=2)
    assert pools.granted() == {"a": 2, "b": 1}


def test_a_first_report_that_was_late_gives_nothing_back() -> None:
    # The leader before took 2 of a's 4 replicas away. What a said before that comes first.
    pools = Pools(pool("a"), pool("b"), gpus=6, term=7)
    early = report("a", 1, ready=4, acted=(6, 1, 4))
    assert pools.ledger.report(early, 0.0).grant.replicas == 4
    pools.aim(a=4)
    late = report("a", 2, ready=2, acted=(6, 9, 2))
    assert pools.ledger.report(late, 0.0).grant.replicas == 2
    assert pools.charged()["a"] == 4, "until it acts on that"


def test_nor_does_it_take_anything_away() -> None:
    pools = Pools(pool("a"), pool("b"), gpus=6, term=7)
    early = report("a", 1, ready=2, acted=(6, 1, 2))
    assert pools.ledger.report(early, 0.0).grant.replicas == 2
    late = report("a", 2, ready=2, acted=(6, 9, 4))
    pools.ledger.report(late, 0.0)
    pools.ledger.written(pools.ledger.epoch)
    assert pools.ledger.accounts[A].sendable.replicas == 4


def test_a_pool_whose_planner_is_another_has_what_it_holds_and_more_only_if_it_fits() -> None:
    pools = Pools(pool("a"), pool("b"), gpus=6)
    pools.settle(a=4, b=2)
    reborn = report("a", 100, ready=3)
    pools.ledger.report(reborn, 0.0)
    pools.ledger.written(pools.ledger.epoch)
    assert pools.ledger.accounts[A].sendable.replicas == 4
    pools.ledger.report(report("b", 101, ready=2, starting=1, acted=pools._acted["b"]), 0.0)
    reborn = report("a", 102, ready=2)
    assert pools.ledger.report(reborn, 0.0).grant.replicas == 2, "b holds one too many"
