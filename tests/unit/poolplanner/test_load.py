import pytest

from poolplanner.core.load import ClassShape, class_loads, class_shapes
from poolplanner.core.observation import ClassTotals
from weir.domain.fleet import RequestClass, Slo, TokenRange
from weir.domain.ids import ClassName
from weir.domain.telemetry import ClassTraffic
from weir.forecast.trend import Forecast
from weir.sizing.outputs import Outputs

SMALL, LONG = ClassName("small"), ClassName("long")
SLO = Slo(ttft_s=1.0, itl_s=0.05)
CLASSES = (
    RequestClass(
        name=SMALL, isl_tokens=TokenRange(high=512), osl_tokens=TokenRange(high=128), slo=SLO
    ),
    RequestClass(name=LONG, isl_tokens=TokenRange(low=4096), osl_tokens=TokenRange(), slo=SLO),
)


def _shapes(
    totals: dict[ClassName, ClassTotals], outputs: dict[ClassName, Outputs] | None = None
) -> dict[ClassName, ClassShape]:
    priors = {"isl_prior_tokens": 1024.0, "osl_prior_tokens": 256.0}
    return class_shapes(CLASSES, totals, outputs or {}, **priors)


def test_before_any_request_lengths_are_the_priors_inside_the_classes_ranges() -> None:
    shapes = _shapes({})
    assert shapes[SMALL] == ClassShape(isl_tokens=511, osl_tokens=127, share=0.5)
    assert shapes[LONG] == ClassShape(isl_tokens=4096, osl_tokens=256, share=0.5)


def test_lengths_are_learned_and_the_prior_weighs_ten_requests() -> None:
    counts = ClassTotals(arrivals=90, isl_tokens=90 * 100)
    outputs = Outputs(0.0)
    outputs.add(ClassTraffic(name=SMALL, completed=10, osl_tokens=10 * 57), 1.0)
    shapes = _shapes(
        {SMALL: counts, LONG: ClassTotals(arrivals=10, isl_tokens=10 * 8192)}, {SMALL: outputs}
    )
    assert shapes[SMALL].isl_tokens == pytest.approx((5110 + 9000) / 100)
    assert shapes[SMALL].osl_tokens == pytest.approx((1270 + 570) / 20)
    assert shapes[SMALL].share == pytest.approx(0.9)
    assert shapes[LONG].isl_tokens == pytest.approx((40960 + 81920) / 20)


def test_the_forecast_is_split_over_the_classes_the_pool_can_serve() -> None:
    shapes = {
        SMALL: ClassShape(isl_tokens=100, osl_tokens=50, share=0.75),
        LONG: ClassShape(isl_tokens=8000, osl_tokens=200, share=0.25),
    }
    forecast = Forecast(mean=8.0, std=1.0)
    both = {load.name: load for load in class_loads(forecast, shapes, [SMALL, LONG])}
    assert both[SMALL].rate_rps == pytest.approx(6.0)
    assert both[LONG].rate_rps == pytest.approx(2.0)
    assert both[SMALL].rate_high_rps == pytest.approx(0.75 * forecast.quantile(0.9))
    (only,) = class_loads(forecast, shapes, [LONG])
    assert only.rate_rps == pytest.approx(8.0)
    assert class_loads(forecast, shapes, []) == ()


def test_classes_without_requests_share_the_pools_load_evenly() -> None:
    shapes = {name: ClassShape(isl_tokens=1, osl_tokens=1, share=0.0) for name in (SMALL, LONG)}
    loads = class_loads(Forecast(mean=8.0, std=0.0), shapes, [SMALL, LONG])
    assert [load.rate_rps for load in loads] == [4.0, 4.0]


def _told(*prompts: int, hopeless: int = 0) -> ClassTraffic:
    """Prompts of one window, and the length of one that cannot be in time, if any."""
    return ClassTraffic(
        name=SMALL,
        arrivals=len(prompts) + bool(hopeless),
        isl_tokens=sum(prompts) + hopeless,
        hopeless_arrivals=int(bool(hopeless)),
        hopeless_isl_tokens=hopeless,
        isl_tokens_sq=sum(prompt * prompt for prompt in prompts),
    )


def test_spread_is_learned_from_squares() -> None:
    totals = ClassTotals()
    # 100 and 300 in turn: variance 100 squared over the mean 200 squared.
    totals.add(_told(*[100, 300] * 1000))
    assert totals.prompts.spread == pytest.approx(0.25)
    shape = _shapes({SMALL: totals})[SMALL]
    assert shape.isl_spread == pytest.approx((0.25 * 2000 + 1.5 * 50) / 2050)
    assert shape.osl_spread == 1.5, "no output has been told of"


def test_what_is_told_without_squares_leaves_the_prior() -> None:
    totals = ClassTotals()
    totals.add(ClassTraffic(name=SMALL, arrivals=900, isl_tokens=900 * 100))
    assert _shapes({SMALL: totals})[SMALL].isl_spread == 1.5
    totals.add(_told(*[100] * 50))
    assert _shapes({SMALL: totals})[SMALL].isl_spread == pytest.approx(0.75)


def test_windows_that_leave_the_memory_leave_no_trace() -> None:
    totals = ClassTotals()
    totals.add(_told(100, 300, hopeless=90_000))
    totals.add(_told(100, 300, hopeless=90_000), sign=-1)
    assert totals == ClassTotals()


def test_hopeless_prompts_are_told_apart() -> None:
    totals = ClassTotals()
    totals.add(_told(*[200] * 99, hopeless=90_000))
    shape = _shapes({SMALL: totals})[SMALL]
    assert shape.isl_tokens == pytest.approx((99 * 200 + 10 * 511) / 109)
    assert (shape.hopeless_share, shape.hopeless_isl_tokens) == (0.01, 90_000)
    assert totals.prompts.spread == 0.0
    assert not shape.hopeless


def test_a_class_is_hopeless_if_nearly_all_of_many_requests_are() -> None:
    totals = ClassTotals()
    for count in range(19):
        assert not _shapes({SMALL: totals})[SMALL].hopeless, count
        totals.add(_told(hopeless=90_000))
    totals.add(_told(hopeless=90_000))
    assert _shapes({SMALL: totals})[SMALL].hopeless
    totals.add(_told(200))
    assert _shapes({SMALL: totals})[SMALL].hopeless
    totals.add(_told(200))
    assert not _shapes({SMALL: totals})[SMALL].hopeless
