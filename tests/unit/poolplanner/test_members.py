from poolplanner.core.members import Announcement, endpoints
from poolplanner.core.replicas import Replica, ReplicaState, state_of
from weir.domain.ids import PoolId, WorkerId
from weir.domain.planning import PoolState, WorkerEndpoint

R, S, T = ReplicaState.READY, ReplicaState.STARTING, ReplicaState.TERMINATING


def _replica(name: str, state: ReplicaState, port: int = 9000) -> Replica:
    return Replica(id=WorkerId(name), state=state, host="127.0.0.1", port=port)


def _endpoint(name: str, *, draining: bool = False) -> WorkerEndpoint:
    return WorkerEndpoint(id=WorkerId(name), host="127.0.0.1", port=9000, draining=draining)


def test_only_replicas_that_serve_are_announced_and_leaving_ones_as_draining() -> None:
    replicas = [_replica("d", T), _replica("b", R), _replica("a", R), _replica("c", S)]
    assert endpoints(replicas, {WorkerId("b")}) == (
        _endpoint("a"),
        _endpoint("b", draining=True),
        _endpoint("d", draining=True),
    )


def test_a_replica_whose_port_is_not_known_is_not_announced() -> None:
    assert endpoints([_replica("a", R, port=0)], ()) == ()


def test_unsettled_starts_are_counted_as_starting() -> None:
    replicas = [_replica("a", R), _replica("b", S), _replica("c", T)]
    assert state_of(replicas, unsettled=2) == PoolState(ready=1, starting=3, terminating=1)


def test_a_change_is_due_at_once_under_a_higher_version_until_it_is_published() -> None:
    announcement = Announcement(PoolId("chat"), first_version=10, refresh_s=5.0)
    first = announcement.due((_endpoint("a"),), 0.0)
    assert first is not None and (first.version, first.workers) == (11, (_endpoint("a"),))
    assert announcement.due((_endpoint("a"),), 0.1) == first
    announcement.published(0.1)
    assert announcement.due((_endpoint("a"),), 0.2) is None
    second = announcement.due((), 0.3)
    assert second is not None and (second.version, second.workers) == (12, ())


def test_an_empty_pool_is_announced_too() -> None:
    announcement = Announcement(PoolId("chat"), first_version=10, refresh_s=5.0)
    members = announcement.due((), 0.0)
    assert members is not None and members.workers == ()


def test_what_has_not_changed_is_announced_again_under_its_version() -> None:
    announcement = Announcement(PoolId("chat"), first_version=10, refresh_s=5.0)
    announcement.due((), 0.0)
    announcement.published(0.0)
    assert announcement.due((), 4.9) is None
    again = announcement.due((), 5.0)
    assert again is not None and again.version == 10
