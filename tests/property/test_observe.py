from hypothesis import given
from hypothesis import strategies as st

from poolplanner.core.observe import Telemetry
from weir.domain.histogram import LogHistogram
from weir.domain.ids import ClassName, PoolId, RouterId, WorkerId
from weir.domain.telemetry import ClassTraffic, ForwardPassSample, PoolTraffic, TrafficSample

POOL = PoolId("chat")
COUNTS = st.integers(0, 50)


@st.composite
def traffic(draw: st.DrawFn, router: str, sequence: int) -> TrafficSample:
    histogram = LogHistogram()
    for _ in range(draw(st.integers(0, 3))):
        histogram.add(draw(st.floats(0.001, 10.0)))
    arrivals = draw(COUNTS)
    return TrafficSample(
        router_id=RouterId(router),
        sequence=sequence,
        window_s=draw(st.sampled_from([0.5, 1.0, 2.0])),
        classes=(
            ClassTraffic(name=ClassName("small"), arrivals=arrivals, isl_tokens=arrivals * 7),
        ),
        pools=(
            PoolTraffic(
                pool_id=POOL,
                arrivals=arrivals,
                in_flight=draw(COUNTS),
                queued_tokens=draw(COUNTS),
                first_token_s=histogram,
            ),
        ),
    )


@st.composite
def passes(draw: st.DrawFn, worker: str, sequence: int) -> ForwardPassSample:
    numbers = {name: draw(COUNTS) for name in ("running", "waiting", "waiting_tokens")}
    return ForwardPassSample(
        pool_id=POOL,
        worker_id=WorkerId(worker),
        sequence=sequence,
        window_s=1.0,
        iterations=1,
        busy_s=0.0,
        prefill_tokens=0,
        decode_tokens=0,
        kv_used_tokens=1,
        kv_total_tokens=2,
        preemptions=0,
        completed=0,
        **numbers,
    )


@st.composite
def deliveries(
    draw: st.DrawFn,
) -> tuple[list[TrafficSample | ForwardPassSample], list[TrafficSample | ForwardPassSample]]:
    """Samples in order, and the same in any order with some doubled."""
    samples: list[TrafficSample | ForwardPassSample] = []
    for source in ("a", "b"):
        samples += [draw(traffic(source, i)) for i in range(draw(st.integers(0, 6)))]
        samples += [draw(passes(source, i)) for i in range(draw(st.integers(0, 4)))]
    doubled = draw(st.lists(st.sampled_from(samples), max_size=6)) if samples else []
    return samples, draw(st.permutations([*samples, *doubled]))


def _take_in(samples: list[TrafficSample | ForwardPassSample]) -> Telemetry:
    telemetry = Telemetry(pool_id=POOL, stale_s=15.0)
    for sample in samples:
        if isinstance(sample, TrafficSample):
            telemetry.on_traffic(sample, now_s=100.0)
        else:
            telemetry.on_forward_pass(sample, now_s=100.0)
    return telemetry


@given(deliveries())
def test_reordering_and_doubling_change_no_answer(
    delivery: tuple[
        list[TrafficSample | ForwardPassSample], list[TrafficSample | ForwardPassSample]
    ],
) -> None:
    in_order, shuffled = (_take_in(samples) for samples in delivery)
    assert in_order.observe(101.0) == shuffled.observe(101.0)
    assert in_order.arrivals(101.0) == shuffled.arrivals(101.0)
    assert in_order.totals == shuffled.totals


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_losing_samples_never_makes_a_steady_rate_look_lower(
    fates: list[bool],
) -> None:
    telemetry = Telemetry(pool_id=POOL, stale_s=15.0)
    for i, lost in enumerate(fates):
        if not lost:
            pool = PoolTraffic(pool_id=POOL, arrivals=6)
            sample = TrafficSample(router_id=RouterId("a"), sequence=i, window_s=1.0, pools=(pool,))
            telemetry.on_traffic(sample, float(i))
        rate_rps = telemetry.observe(float(i)).rate_rps
        measured = telemetry.arrivals(float(i))
        assert rate_rps is None or abs(rate_rps - 6.0) < 1e-9
        assert measured is None or abs(measured.rate_rps - 6.0) < 1e-9
