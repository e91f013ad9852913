"""The wish in a pool's reports: of those replicas only that stay."""

from collections.abc import Collection
from dataclasses import replace

from poolplanner.core.observe import Telemetry
from poolplanner.core.report import Reporter
from poolplanner.core.targets import Wishes
from poolplanner.parts import wishes_of
from tests.unit.poolplanner.pools import CLASSES, POOL, pool_spec
from weir.domain.fleet import Role
from weir.domain.ids import RouterId, WorkerId
from weir.domain.planning import Grant, PoolState
from weir.domain.targets import Target, Thresholds
from weir.domain.telemetry import ForwardPassSample, PoolTraffic, TrafficSample
from weir.fleet import PlannerSettings

THRESHOLDS = Thresholds(target=Target.LATENCY, up=0.8, down=0.4)


class Pool:
    """Decode engines that hold 100,000 tokens each; one look every 5 s."""

    def __init__(self, *, sized_here: bool = True) -> None:
        wishes = Wishes(thresholds=THRESHOLDS, dwell_s=10.0, prefills=False)
        self.reporter = Reporter(
            spec=pool_spec(Role.DECODE),
            classes=CLASSES,
            telemetry=Telemetry(pool_id=POOL, stale_s=15.0),
            utilization=0.8,
            osl_prior_tokens=256.0,
            wishes=wishes if sized_here else None,
        )
        self.now_s, self.sequence = 0.0, 0

    def hear(self, *kv_used_tokens: int) -> None:
        """Of workers 0, 1, ...; and of the router."""
        self.now_s += 5.0
        self.sequence += 1
        telemetry = self.reporter.telemetry
        for number, used in enumerate(kv_used_tokens):
            sample = ForwardPassSample(
                pool_id=POOL,
                worker_id=WorkerId(str(number)),
                sequence=self.sequence,
                window_s=5.0,
                running=10,
                waiting=0,
                kv_used_tokens=used,
                kv_total_tokens=100_000,
            )
            telemetry.on_forward_pass(sample, self.now_s)
        traffic = TrafficSample(
            router_id=RouterId("r"),
            sequence=self.sequence,
            window_s=5.0,
            pools=(PoolTraffic(pool_id=POOL, arrivals=5, in_flight=10),),
        )
        telemetry.on_traffic(traffic, self.now_s)

    def wish(self, ready: int, granted: int, leaving: Collection[str] = ()) -> int | None:
        self.sequence += 1
        return self.reporter.report(
            sequence=self.sequence,
            state=PoolState(ready=ready, starting=0, terminating=0),
            grant=Grant(pool_id=POOL, term=1, epoch=1, replicas=granted, valid_s=15.0),
            now_s=self.now_s,
            leaving=[WorkerId(name) for name in leaving],
        ).wish


def test_a_pool_that_is_sized_by_slos_reports_no_wish() -> None:
    pool = Pool(sized_here=False)
    pool.hear(90_000)
    assert pool.wish(1, 1) is None


def test_engines_above_for_five_seconds_are_wished_more() -> None:
    pool = Pool()
    wishes = []
    for _ in range(3):
        pool.hear(90_000, 90_000)
        wishes.append(pool.wish(2, 2))
    # 1.8 engines' worth in the middle, 0.6: three.
    assert wishes == [2, 3, 3]


def test_without_telemetry_nothing_is_wished() -> None:
    pool = Pool()
    assert pool.wish(2, 2) is None
    pool.hear(50_000, 50_000)
    assert pool.wish(2, 2) == 2
    pool.now_s += 20.0
    assert pool.wish(2, 2) is None


def test_replicas_that_are_to_go_are_not_wished_back_by_being_there_still() -> None:
    pool = Pool()
    for _ in range(4):
        pool.hear(10_000, 10_000, 10_000)
        wish = pool.wish(3, 3)
    assert wish == 2
    # The grant is there, the third replica drains: with 0.5 each the two that stay are content.
    for _ in range(4):
        pool.hear(50_000, 50_000, 10_000)
        wish = pool.wish(3, 2, leaving=["2"])
    assert wish == 2


def test_what_leaving_engines_hold_is_no_load() -> None:
    pool = Pool()
    for _ in range(4):
        pool.hear(10_000, 10_000, 95_000)
        wish = pool.wish(2, 2, leaving=["2"])
    assert wish == 1


def test_wishes_are_as_the_document_wants_them() -> None:
    settings = PlannerSettings(scale_down_dwell_s=40.0, backlog_horizon_s=9.0)
    assert wishes_of(pool_spec(Role.PREFILL), settings) is None
    spec = replace(pool_spec(Role.PREFILL, min_replicas=0), thresholds=THRESHOLDS)
    wishes = wishes_of(replace(spec, scale_to_zero_after_s=120.0), settings)
    assert wishes == Wishes(
        thresholds=THRESHOLDS, dwell_s=40.0, prefills=True, horizon_s=9.0, idle_s=120.0
    )
    staying = wishes_of(replace(spec, min_replicas=1), settings)
    assert staying is not None
    assert staying.idle_s is None
