import numpy as np
import pytest

from weir.forecast.calibration import Record
from weir.forecast.outlook import Outlook
from weir.forecast.samples import Sample


def _run(record: Record, raw: Outlook, values: list[float]) -> float:
    """Issue one forecast per measurement; the share of the last 200 inside the band."""
    inside = []
    for place, value in enumerate(values):
        issued = record.corrected(raw)
        record.expect(raw, issued, 10.0 * (place + 1))
        record.observe(Sample(10.0 * (place + 1), value, 10.0))
        inside.append(issued.quantile(0.05) <= value <= issued.quantile(0.95))
    return float(np.mean(inside[-200:]))


def test_a_band_that_is_too_narrow_learns_its_width() -> None:
    values = np.random.default_rng(5).lognormal(3.0, 1.0, 500).tolist()  # heavy-tailed
    record = Record(10.0, (0.5, 0.9))
    assert _run(record, Outlook.normal(20.0, 4.0), values) == pytest.approx(0.9, abs=0.04)
    assert record.coverage == pytest.approx(0.9, abs=0.04)


def test_a_band_that_is_too_wide_learns_it_too() -> None:
    values = (20.0 + np.random.default_rng(5).standard_normal(500)).tolist()
    record = Record(10.0, (0.5, 0.9))
    assert _run(record, Outlook.normal(20.0, 10.0), values) == pytest.approx(0.9, abs=0.04)
    wide = record.corrected(Outlook.normal(20.0, 10.0))
    assert wide.quantile(0.95) == pytest.approx(21.6, abs=0.5)


def test_before_anything_came_due_the_model_is_believed() -> None:
    record, raw = Record(60.0, (0.5,)), Outlook.normal(1.0, 1.0)
    record.expect(raw, raw, 60.0)
    record.observe(Sample(50.0, 9.0, 10.0))
    assert record.corrected(raw) == raw
    assert (record.loss, record.coverage) == (None, None)


def test_a_forecast_whose_measurement_is_missing_is_dropped() -> None:
    record, raw = Record(10.0, (0.5,)), Outlook.normal(1.0, 1.0)
    record.expect(raw, raw, 20.0)
    record.observe(Sample(60.0, 9.0, 10.0))
    assert record.loss is None


def test_loss_is_the_remembered_pinball() -> None:
    record, raw = Record(10.0, (0.5,)), Outlook.normal(10.0, 1.0)
    for due_s, value in ((10.0, 12.0), (20.0, 6.0)):
        record.expect(raw, raw, due_s)
        record.observe(Sample(due_s, value, 10.0))
    assert record.loss == pytest.approx((0.5 * 2.0 + 0.5 * 4.0) / 2.0)
