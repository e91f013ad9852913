from dataclasses import replace

import pytest

from poolplanner.core.engines import Engines, bounds
from poolplanner.core.observation import EngineLoad
from weir.domain.ids import PoolId, WorkerId
from weir.domain.telemetry import ForwardPassSample


def _sample(worker: str, sequence: int, running: int = 0, waiting: int = 0) -> ForwardPassSample:
    return ForwardPassSample(
        pool_id=PoolId("chat"),
        worker_id=WorkerId(worker),
        sequence=sequence,
        window_s=1.0,
        running=running,
        waiting=waiting,
        waiting_tokens=100 * waiting,
    )


def _heard(engines: Engines, worker: str, seconds: range, first: int = 0) -> None:
    for second in seconds:
        engines.take(_sample(worker, first + second), float(second))


def test_a_new_replica_is_not_measured_until_it_is_warm() -> None:
    engines = Engines(stale_s=15.0)
    for second in range(100):
        engines.take(_sample("old", second), float(second))
        if second >= 50:
            engines.take(_sample("new", second), float(second))
    measured = [sample.worker_id for sample in engines.passes()]
    assert measured.count(WorkerId("old")) == 100
    # Heard from 50 s on, measured from 80 s on.
    assert measured.count(WorkerId("new")) == 20
    assert engines.passes() == ()


def test_where_a_new_replica_stands_counts_at_once() -> None:
    engines = Engines(stale_s=15.0)
    _heard(engines, "old", range(50))
    engines.take(_sample("new", 0, waiting=3), 49.0)
    assert sum(sample.waiting for sample in engines.newest(49.0)) == 3


def test_a_replica_that_was_heard_before_an_outage_is_not_new_after_it() -> None:
    engines = Engines(stale_s=15.0)
    _heard(engines, "old", range(50))
    engines.passes()
    assert engines.newest(600.0) == []
    engines.take(_sample("old", 650), 650.0)
    assert [sample.sequence for sample in engines.passes()] == [650]


def test_a_replica_that_begins_to_count_anew_is_a_new_one() -> None:
    engines = Engines(stale_s=15.0)
    _heard(engines, "old", range(50))
    engines.passes()
    _heard(engines, "old", range(60, 95), first=-60)
    assert [sample.sequence for sample in engines.passes()] == [30, 31, 32, 33, 34]


def test_the_hit_rate_is_over_the_memory_and_unknown_where_nobody_tells() -> None:
    engines = Engines(stale_s=15.0, memory_s=300.0)
    engines.take(_sample("a", 0), 0.0)
    assert engines.hit_rate(0.0) is None
    engines.take(replace(_sample("a", 1), cached_tokens=300, prefill_tokens=100), 1.0)
    engines.take(replace(_sample("a", 2), cached_tokens=0, prefill_tokens=100), 200.0)
    assert engines.hit_rate(200.0) == pytest.approx(0.6)
    assert engines.hit_rate(302.0) == 0.0
    assert engines.hit_rate(501.0) is None


def test_the_accept_length_is_over_the_memory_though_engines_fall_silent() -> None:
    engines = Engines(stale_s=15.0, memory_s=300.0)
    engines.take(replace(_sample("a", 0), accept_length=2.0), 0.0)
    engines.take(replace(_sample("b", 0), accept_length=3.0), 100.0)
    engines.take(_sample("c", 0), 100.0)
    assert engines.accept_length(100.0) == pytest.approx(2.5)
    assert engines.accept_length(350.0) == pytest.approx(3.0)
    assert engines.accept_length(500.0) is None


def test_all_engines_heard_leave_nothing_to_bound() -> None:
    both = bounds([_sample("a", 0, 3, 1), _sample("b", 0, 4)], ready=2, in_flight=99)
    assert both is not None
    assert both[0] == both[1] == EngineLoad(workers=2, running=7, waiting=1, waiting_tokens=100)


def test_a_silent_engine_holds_what_routers_sent_and_nobody_else_has() -> None:
    # Routers have 20 requests at the pool, the two engines heard have 8 of them.
    both = bounds([_sample("a", 0, 3, 1), _sample("b", 0, 4)], ready=3, in_flight=20)
    assert both is not None
    least, most = both
    assert least == EngineLoad(workers=3, running=19, waiting=1, waiting_tokens=100)
    # As loaded as the most loaded: 4 running, 1 waiting; so 8 of the 20 wait besides 11 + 2.
    assert (most.workers, most.running, most.waiting) == (3, 11, 9)
    assert most.waiting_tokens == 200


def test_without_routers_only_the_engines_heard_are_known_at_least() -> None:
    both = bounds([_sample("a", 0, 3, 1)], ready=4, in_flight=None)
    assert both is not None
    assert both[0] == EngineLoad(workers=1, running=3, waiting=1, waiting_tokens=100)
    assert (both[1].workers, both[1].running, both[1].waiting) == (4, 12, 4)


def test_what_one_engine_cannot_tell_is_unknown_of_all() -> None:
    silent = replace(_sample("b", 0), waiting_tokens=None)
    both = bounds([_sample("a", 0, 0, 2), silent], ready=2, in_flight=None)
    assert both is not None and both[0].waiting_tokens is None
    assert bounds([], ready=2, in_flight=5) is None
