import pytest

from poolplanner.core.observe import Telemetry
from poolplanner.core.report import Reporter
from tests.unit.poolplanner.pools import CLASSES, POOL, SMALL, pool_spec
from weir.domain.fleet import Role
from weir.domain.ids import ClassName, RouterId
from weir.domain.overrides import ClassTargets
from weir.domain.planning import Grant, PoolReport, PoolState
from weir.domain.telemetry import ClassTraffic, PoolTraffic, TrafficSample

STATE = PoolState(ready=1, starting=1, terminating=0)


def _reporter(role: Role = Role.PREFILL) -> Reporter:
    return Reporter(
        spec=pool_spec(role),
        classes=CLASSES,
        telemetry=Telemetry(pool_id=POOL, stale_s=15.0),
        utilization=0.8,
        osl_prior_tokens=256.0,
    )


def _report(reporter: Reporter, now_s: float, grant: Grant | None = None) -> PoolReport:
    return reporter.report(sequence=7, state=STATE, grant=grant, now_s=now_s)


def _hear(reporter: Reporter, sequence: int, arrivals: int, now_s: float) -> None:
    classes = (ClassTraffic(name=SMALL, arrivals=arrivals, isl_tokens=1000 * arrivals),)
    pools = (PoolTraffic(pool_id=POOL, arrivals=arrivals, queued_tokens=3000),)
    sample = TrafficSample(
        router_id=RouterId("a"), sequence=sequence, window_s=2.0, classes=classes, pools=pools
    )
    reporter.telemetry.on_traffic(sample, now_s)


def test_without_telemetry_load_and_backlog_are_unknown_and_capacity_is_the_priors() -> None:
    report = _report(_reporter(), 5.0)
    assert (report.load, report.backlog_replica_s, report.telemetry_age_s) == ((), None, None)
    # 1,024 tokens take 0.1024 s.
    assert report.capacity_rps[SMALL] == pytest.approx(0.8 / 0.1024, rel=0.03)
    assert (report.sequence, report.state, report.start_up_s) == (7, STATE, 30.0)
    assert (report.acted_term, report.acted_epoch, report.acted_replicas) == (0, 0, 0)


def test_the_report_names_the_grant_in_force() -> None:
    grant = Grant(pool_id=POOL, term=3, epoch=9, replicas=2, valid_s=15.0)
    report = _report(_reporter(), 0.0, grant)
    assert (report.acted_term, report.acted_epoch, report.acted_replicas) == (3, 9, 2)


def test_steady_traffic_is_the_load_and_queued_tokens_the_backlog() -> None:
    reporter = _reporter()
    for i in range(50):
        _hear(reporter, i, 12, 2.0 * i)
        report = _report(reporter, 2.0 * i)
    (load,) = report.load
    assert load.name == SMALL
    assert load.rate_rps == pytest.approx(6.0, rel=0.01)
    assert load.rate_high_rps > load.rate_rps
    assert report.backlog_replica_s == pytest.approx(0.2)
    assert report.telemetry_age_s == 0.0


def test_an_outage_makes_the_load_unknown_never_zero() -> None:
    reporter = _reporter()
    for i in range(20):
        _hear(reporter, i, 12, 2.0 * i)
        _report(reporter, 2.0 * i)
    for now_s in (40.0, 50.0):
        (load,) = _report(reporter, now_s).load
        assert load.rate_rps == pytest.approx(6.0, rel=0.05)
    report = _report(reporter, 54.0)
    assert (report.load, report.backlog_replica_s) == ((), None)
    assert report.telemetry_age_s == pytest.approx(16.0)
    _hear(reporter, 40, 12, 80.0)
    assert _report(reporter, 80.0).load[0].rate_rps == pytest.approx(6.0, rel=0.05)


def test_capacity_follows_what_classes_are_to_meet_now() -> None:
    # An iteration takes 10 ms and 1 ms per sequence: 40 of them within 50 ms, 20 within 30 ms.
    reporter = _reporter(Role.DECODE)
    before = _report(reporter, 0.0).capacity_rps[SMALL]
    reporter.follow({SMALL: ClassTargets(itl_s=0.030)})
    changed = _report(reporter, 2.0).capacity_rps[SMALL]
    assert changed / before == pytest.approx((20 / 0.030) / (40 / 0.050))
    reporter.follow({SMALL: ClassTargets(ttft_s=4.0)})
    assert _report(reporter, 4.0).capacity_rps[SMALL] == before
    reporter.follow({ClassName("nobody"): ClassTargets(itl_s=0.030)})
    assert _report(reporter, 6.0).capacity_rps == {SMALL: before}
