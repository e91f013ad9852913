import pytest

from poolplanner.core.pace import Pace, Steps
from poolplanner.core.replicas import Replica, ReplicaState
from weir.domain.ids import PoolId, WorkerId
from weir.domain.planning import Grant

R, S, T = ReplicaState.READY, ReplicaState.STARTING, ReplicaState.TERMINATING


def _grant(replicas: int, epoch: int = 1, *, term: int = 1, valid_s: float = 15.0) -> Grant:
    return Grant(pool_id=PoolId("chat"), term=term, epoch=epoch, replicas=replicas, valid_s=valid_s)


def _replica(name: str, state: ReplicaState = R, in_flight: int | None = 0) -> Replica:
    return Replica(id=WorkerId(name), state=state, in_flight=in_flight)


def _ready(*names: str) -> list[Replica]:
    return [_replica(name) for name in names]


def _pace(grant: Grant | None = None, *, max_replicas: int = 8) -> Pace:
    pace = Pace(max_replicas=max_replicas, settle_s=1.0, unsettled_s=10.0)
    if grant is not None:
        assert pace.offer(grant, sent_at_s=0.0) is None
    return pace


def _step(pace: Pace, replicas: list[Replica], now_s: float) -> Steps:
    pace.see(replicas, now_s)
    return pace.step(replicas, now_s)


def test_without_a_grant_nothing_is_started_or_stopped() -> None:
    pace = _pace()
    assert _step(pace, [], 0.0) == Steps()
    assert _step(pace, _ready("a", "b"), 1.0) == Steps()


def test_a_pool_without_processes_starts_what_it_was_granted() -> None:
    assert _step(_pace(_grant(2)), [], 0.0) == Steps(start=2)


def test_starting_and_terminating_replicas_count_as_held() -> None:
    replicas = [_replica("a"), _replica("b", S), _replica("c", T)]
    assert _step(_pace(_grant(3)), replicas, 0.0).start == 0
    assert _step(_pace(_grant(4)), replicas, 0.0).start == 1


def test_an_expired_grant_forbids_starts() -> None:
    pace = _pace(_grant(2, valid_s=15.0))
    assert _step(pace, [], 14.9).start == 2
    assert _step(pace, [], 15.0).start == 0


def test_validity_counts_from_when_the_report_was_sent_and_is_renewed() -> None:
    pace = _pace(_grant(2, valid_s=15.0))
    assert pace.offer(_grant(2, valid_s=15.0), sent_at_s=10.0) is None
    assert _step(pace, [], 24.9).start == 2
    # An answer that arrives late does not shorten what a newer one has renewed.
    assert pace.offer(_grant(2, valid_s=15.0), sent_at_s=2.0) is None
    assert _step(pace, [], 24.9).start == 2


@pytest.mark.parametrize(("term", "epoch"), [(1, 4), (0, 9)])
def test_a_grant_of_a_lower_term_or_epoch_is_refused(term: int, epoch: int) -> None:
    pace = _pace(_grant(1, epoch=5))
    assert pace.offer(_grant(7, epoch, term=term), sent_at_s=1.0) == "older than term 1 epoch 5"
    assert _step(pace, _ready("a"), 1.0) == Steps()


def test_a_higher_term_begins_again_with_any_epoch() -> None:
    pace = _pace(_grant(1, epoch=5))
    assert pace.offer(_grant(2, epoch=1, term=2), sent_at_s=1.0) is None
    assert _step(pace, _ready("a"), 1.0) == Steps(start=1)


def test_a_grant_that_changes_its_mind_under_the_same_epoch_is_refused() -> None:
    pace = _pace(_grant(1))
    refusal = pace.offer(_grant(3), sent_at_s=1.0)
    assert refusal is not None and "contradicts" in refusal
    assert _step(pace, _ready("a"), 1.0) == Steps()


def test_a_grant_beyond_the_pools_maximum_is_followed_up_to_it() -> None:
    assert _step(_pace(_grant(9), max_replicas=3), [], 0.0) == Steps(start=3)


def test_a_ready_victim_drains_is_announced_settles_and_is_stopped() -> None:
    pace = _pace(_grant(1))
    replicas = _ready("a", "b")
    assert _step(pace, replicas, 0.0) == Steps(drain=(WorkerId("b"),))
    assert pace.draining == {"b"}
    # Not announced (NATS away): routers still send to it.
    assert _step(pace, replicas, 5.0) == Steps()
    pace.announced(5.0)
    assert _step(pace, replicas, 5.9) == Steps()
    assert _step(pace, replicas, 6.0) == Steps(stop=(WorkerId("b"),))


def test_announcing_again_does_not_prolong_settling() -> None:
    pace = _pace(_grant(0))
    replicas = _ready("a")
    _step(pace, replicas, 0.0)
    pace.announced(0.0)
    pace.announced(0.9)
    assert _step(pace, replicas, 1.0).stop == (WorkerId("a"),)


def test_the_least_loaded_replica_goes_and_unknown_load_counts_as_full() -> None:
    replicas = [
        _replica("busy", in_flight=9),
        _replica("quiet", in_flight=1),
        _replica("unknown", in_flight=None),
    ]
    assert _step(_pace(_grant(2)), replicas, 0.0).drain == ("quiet",)
    assert _step(_pace(_grant(1)), replicas, 0.0).drain == ("quiet", "busy")


def test_starting_replicas_go_first_and_at_once() -> None:
    replicas = [_replica("a"), _replica("b", S, None), _replica("c")]
    steps = _step(_pace(_grant(2)), replicas, 0.0)
    assert steps == Steps(drain=(WorkerId("b"),), stop=(WorkerId("b"),))


def test_a_larger_grant_takes_a_drain_back_instead_of_starting() -> None:
    pace = _pace(_grant(1))
    replicas = _ready("a", "b")
    _step(pace, replicas, 0.0)
    assert pace.offer(_grant(2, epoch=2), sent_at_s=0.5) is None
    assert _step(pace, replicas, 0.5) == Steps(keep=(WorkerId("b"),))
    assert pace.draining == frozenset()
    assert _step(pace, replicas, 9.0) == Steps()


def test_a_stop_that_was_ordered_is_not_taken_back_and_its_gpus_are_held_until_it_is_gone() -> None:
    pace = _pace(_grant(1))
    replicas = _ready("a", "b")
    _step(pace, replicas, 0.0)
    pace.announced(0.0)
    assert _step(pace, replicas, 1.0).stop == ("b",)
    pace.offer(_grant(2, epoch=2), sent_at_s=1.0)
    assert _step(pace, replicas, 1.5) == Steps(stop=(WorkerId("b"),))
    assert _step(pace, [_replica("a"), _replica("b", T)], 2.0) == Steps()
    assert _step(pace, _ready("a"), 2.5) == Steps(start=1)


def test_a_drain_ordered_before_expiry_finishes_but_no_new_one_begins() -> None:
    pace = _pace(_grant(1, valid_s=15.0))
    replicas = _ready("a", "b")
    _step(pace, replicas, 14.0)
    pace.announced(14.0)
    more = [*replicas, _replica("c")]
    assert _step(pace, more, 16.0) == Steps(stop=(WorkerId("b"),))
    assert pace.draining == {"b"}


def test_a_crashed_replica_that_starts_again_is_not_started_twice() -> None:
    pace = _pace(_grant(2))
    assert _step(pace, _ready("a", "b"), 0.0) == Steps()
    assert _step(pace, [_replica("a"), _replica("b", S)], 1.0) == Steps()


def test_a_victim_that_crashes_while_draining_is_stopped_at_once() -> None:
    pace = _pace(_grant(1))
    _step(pace, _ready("a", "b"), 0.0)
    assert _step(pace, [_replica("a"), _replica("b", S)], 0.1).stop == ("b",)


def test_a_start_of_unknown_outcome_counts_until_it_cannot_happen() -> None:
    pace = _pace(_grant(1, valid_s=100.0))
    assert _step(pace, [], 0.0).start == 1
    pace.started(None, 0.0)
    assert pace.unsettled(9.9) == 1
    assert _step(pace, [], 9.9).start == 0
    assert _step(pace, [], 10.0).start == 1


def test_a_start_of_unknown_outcome_is_settled_when_its_replica_appears() -> None:
    pace = _pace(_grant(2, valid_s=100.0))
    _step(pace, [], 0.0)
    pace.started(None, 0.0)
    pace.started(WorkerId("a"), 0.0)
    assert pace.unsettled(0.0) == 2
    assert _step(pace, [_replica("a", S)], 1.0).start == 0
    assert pace.unsettled(1.0) == 1
    assert _step(pace, [_replica("a", S), _replica("b", S)], 2.0).start == 0
    assert pace.unsettled(2.0) == 0


def test_a_started_replica_counts_before_it_is_listed() -> None:
    pace = _pace(_grant(1))
    _step(pace, [], 0.0)
    pace.started(WorkerId("a"), 0.0)
    assert _step(pace, [], 1.0).start == 0
    assert _step(pace, [_replica("a", S)], 2.0).start == 0


def test_a_restarted_planner_leaves_replicas_alone_until_its_first_grant() -> None:
    pace = _pace()
    replicas = [*_ready("a", "b"), _replica("c", T)]
    assert _step(pace, replicas, 0.0) == Steps()
    pace.offer(_grant(1), sent_at_s=1.0)
    assert _step(pace, replicas, 1.0) == Steps(drain=(WorkerId("b"),))
