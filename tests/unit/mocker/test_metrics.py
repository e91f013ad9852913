import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from weir.domain.ids import PoolId, WorkerId
from weir.domain.profile import EngineProfile, TableTiming
from weir.engine.model import EngineModel
from weir.engine.request import Request
from weir.mocker.exposition import Buckets, Exposition
from weir.mocker.metrics import MockerMetrics
from weir.mocker.settings import MockerSettings
from weir.mocker.telemetry import ForwardPassMeter
from weir.runtime.clock import Clock

TIMING = TableTiming(prefill=((1.0, 1.0), (2.0, 1.0)), decode=((1.0, 1.0), (2.0, 1.0)))
"""Every iteration takes a second."""


def test_a_bucket_counts_what_is_not_above_its_bound() -> None:
    buckets = Buckets((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        buckets.observe(value)
    buckets.observe(2.0, times=3)
    text = Exposition({})
    text.histogram("h", "Help.", buckets)
    assert [line for line in text.render().decode().splitlines() if line[0] != "#"] == [
        'h_bucket{le="1.0"} 2',
        'h_bucket{le="2.0"} 6',
        'h_bucket{le="+Inf"} 7',
        "h_sum{} 18",
        "h_count{} 7",
    ]


def test_the_page_is_what_prometheus_reads() -> None:
    model = EngineModel(EngineProfile())
    settings = MockerSettings(models=('quo"te\\d',), pool=PoolId("p"), worker=WorkerId("w"))
    page = MockerMetrics(1000).render(settings, model, 0.0).decode()
    families = {family.name: family for family in text_string_to_metric_families(page)}
    assert families["vllm:generation_tokens"].type == "counter"
    assert families["vllm:num_requests_running"].type == "gauge"
    assert families["vllm:time_to_first_token_seconds"].type == "histogram"
    assert families["vllm:request_prompt_tokens"].type == "histogram"
    labels = families["weir_mocker_info"].samples[0].labels
    assert (labels["model_name"], labels["pool"]) == ('quo"te\\d', "p")


def drive(model: EngineModel, metrics: MockerMetrics, start_s: float, passes: int) -> float:
    for _ in range(passes):
        iteration = model.begin(start_s)
        assert iteration is not None
        metrics.iteration(iteration, model.finish(iteration))
        start_s = iteration.end_s
    return start_s


def test_gaps_between_tokens_are_those_of_sequences_that_went_on() -> None:
    model, metrics = EngineModel(EngineProfile(timing=TIMING)), MockerMetrics(1000)
    model.submit(Request(id="a", prompt_tokens=8, output_tokens=9), 0.0)
    end_s = drive(model, metrics, 0.0, 3)  # token 1, 2, 3
    assert (metrics.itl_s.count, metrics.itl_s.total) == (2, 2.0)
    model.submit(Request(id="b", prompt_tokens=8, output_tokens=9), end_s)
    drive(model, metrics, end_s, 1)  # a pass with b's prefill in it takes longer, for a only
    assert metrics.itl_s.count == 3
    assert metrics.itl_s.total == pytest.approx(2.0 + 2.0)
    assert metrics.generation_tokens == 5


def test_a_sample_covers_the_iterations_that_ended_in_its_window() -> None:
    model, metrics = EngineModel(EngineProfile(timing=TIMING)), MockerMetrics(1000)
    clock = Clock(speed=1e-9, origin_s=0.0)
    settings = MockerSettings(models=("m",), pool=PoolId("p"), worker=WorkerId("w"), clock=clock)
    meter = ForwardPassMeter(model, metrics, settings)
    start_s = meter.sample(0.0).window_s
    assert math.isclose(start_s, 0.0, abs_tol=1e-3)
    model.submit(Request(id="a", prompt_tokens=8, output_tokens=9), 0.0)
    model.submit(Request(id="b", prompt_tokens=8, output_tokens=9), 5.0)
    drive(model, metrics, 0.0, 2)
    model.begin(2.0)
    sample = meter.sample(2.5)
    assert (sample.iterations, sample.prefill_tokens, sample.decode_tokens) == (2, 8, 1)
    assert sample.prefill_iterations == 1
    assert sample.busy_s == pytest.approx(2.0)  # the third is not over
    assert (sample.running, sample.waiting, sample.waiting_tokens) == (1, 1, 8)
    assert (sample.kv_used_tokens, sample.kv_total_tokens) == (16, 262_144)
    assert meter.sample(2.75).busy_s == 0.0
