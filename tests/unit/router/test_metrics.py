"""What /metrics shows, and that the reference says so."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from router.core.request import Outcome, Route
from router.frontend.hints import Ignored
from router.metrics import (
    FrontendMeter,
    RouterCollector,
    SupervisorCollector,
    registry,
    render,
)
from tests.unit.router.builders import members, pool, request, service
from weir.domain.fleet import KvEvents, Role

REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "router.md"


class Bus:
    connected = True
    dropped = 3


class Counter:
    def __init__(self) -> None:
        self.outcomes = {"counted": 2, "late": 0, "failed": 0, "full": 1}


class _Endpoint:
    connections = 2001
    engine_connections = 1999
    running = 1998
    tasks = 2010


def _text(meter: FrontendMeter | None = None) -> str:
    told = replace(pool("a", Role.AGG), kv_events=KvEvents(port=1))
    router = service((told, pool("b", Role.AGG)), members("a", "w1", "w2", draining="w2"))
    flight = router.open(request(), 0.0)
    route = router.decide(request(), 0.0)
    assert isinstance(route, Route)
    flight.sent(route, 0.0)
    flight.first_token(0.3)
    flight.finish(Outcome.COMPLETED, 1.3, prompt_tokens=80, output_tokens=11)
    router.open(request(), 2.0)
    meter = meter or FrontendMeter()
    meter.open = _Endpoint()
    collector = RouterCollector(router, meter, Bus(), Counter(), Others())
    return render(registry(collector)).decode()


@pytest.mark.parametrize(
    "line",
    [
        'weir_router_arrivals_total{class="all"} 2.0',
        "weir_router_others_heard 3.0",
        "weir_router_others_misunderstood_total 1.0",
        'weir_router_pool_ejections_total{pool="a",reason="stuck"} 0.0',
        'weir_router_kv_events_total{kind="stored",pool="a"} 0.0',
        'weir_router_requests_total{class="all",outcome="completed"} 1.0',
        'weir_router_requests_total{class="all",outcome="failed"} 0.0',
        'weir_router_queued{class="all"} 1.0',
        'weir_router_in_flight{class="all"} 0.0',
        'weir_router_ttft_seconds_bucket{class="all",le="0.25"} 0.0',
        'weir_router_ttft_seconds_bucket{class="all",le="0.5"} 1.0',
        'weir_router_ttft_seconds_bucket{class="all",le="+Inf"} 1.0',
        'weir_router_ttft_seconds_sum{class="all"} 0.3',
        'weir_router_itl_seconds_sum{class="all"} 0.1',
        'weir_router_duration_seconds_sum{class="all"} 1.3',
        'weir_router_pool_requests_total{pool="a"} 1.0',
        'weir_router_pool_pace{pool="b"} 1.0',
        'weir_router_pool_workers{pool="a",state="ready"} 1.0',
        'weir_router_pool_workers{pool="a",state="draining"} 1.0',
        'weir_router_routes_total{reason="share"} 1.0',
        'weir_router_isl_estimates_total{model="tiny"} 1.0',
        'weir_router_isl_tokens_total{model="tiny"} 80.0',
        'weir_router_isl_error_tokens_total{direction="high",model="tiny"} 20.0',
        'weir_router_isl_error_tokens_total{direction="low",model="tiny"} 0.0',
        'weir_router_isl_error_ratio{model="tiny"} 0.25',
        'weir_router_isl_counts_total{outcome="full"} 1.0',
        'weir_router_osl_outputs_total{model="tiny"} 1.0',
        'weir_router_osl_tokens_total{model="tiny"} 11.0',
        'weir_router_osl_expected_tokens_total{model="tiny"} 50.0',
        'weir_router_osl_within_reserved_total{model="tiny"} 1.0',
        'weir_router_osl_above_median_total{model="tiny"} 0.0',
        'weir_router_pool_kv_tokens{pool="a"} 0.0',
        'weir_router_connections{side="client"} 2001.0',
        'weir_router_connections{side="engine"} 1999.0',
        "weir_router_running 1998.0",
        "weir_router_tasks 2010.0",
        "weir_router_nats_connected 1.0",
        "weir_router_nats_dropped_total 3.0",
    ],
)
def test_counts_are_shown(line: str) -> None:
    assert line in _text().splitlines()


def test_statuses_are_a_closed_set() -> None:
    meter = FrontendMeter()
    for status in (404, 404, 418, 499):
        meter.rejected(status)
    meter.recomputed()
    meter.hint_ignored("nvext.agent_hints", Ignored.UNKNOWN)
    lines = _text(meter).splitlines()
    assert 'weir_router_rejected_total{status="404"} 2.0' in lines
    assert 'weir_router_rejected_total{status="other"} 2.0' in lines
    assert "weir_router_recomputed_prefills_total 1.0" in lines
    labels = '{hint="nvext.agent_hints",reason="unknown"}'
    assert f"weir_router_hints_ignored_total{labels} 1.0" in lines


class Others:
    heard = 3
    misunderstood = 1


class _Processes:
    running = 2
    restarts = 1


def test_every_metric_is_in_the_reference_and_none_else() -> None:
    supervisor = CollectorRegistry()
    supervisor.register(SupervisorCollector(_Processes()))
    text = _text() + render(supervisor).decode()
    types = re.findall(r"^# TYPE (weir_router_\w+)", text, re.MULTILINE)
    documented = re.findall(r"`(weir_router_\w+)", REFERENCE.read_text())
    assert sorted(types) == sorted(documented)
