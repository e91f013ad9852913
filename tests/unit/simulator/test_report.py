"""The report: one file that needs no other, with every chart's traces and no markup of others."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.simulator.worlds import Scripted, scenario
from weir.domain.ids import PoolId
from weir.simulator import policies
from weir.simulator.journal import Journal, Step
from weir.simulator.policies.port import PlanSample
from weir.simulator.report import Recording, plotly_script, report_html
from weir.simulator.run import simulate
from weir.simulator.summarize import summarize
from weir.simulator.world import World

DATA = re.compile(r'<script type="application/json" id="data-\d+">(.*?)</script>', re.DOTALL)


class Planned(Scripted):
    """A policy with a plan to show."""

    def sample(self) -> PlanSample:
        return PlanSample(
            ahead_s=10.0,
            forecast_rps={"short": (0.5, 1.0, 2.0)},
            shares={"short": {"prefill": {"prefill": 1.0}, "decode": {"decode": 1.0}}},
            charged_gpus=4,
        )


def grows(world: World) -> None:
    world.cluster.start(PoolId("prefill"))
    reason = "<b>burst</b> & more</script>"
    world.journal.step(
        Step(at_s=world.now_s, pool_id=PoolId("prefill"), before=1, after=2, reason=reason)
    )
    world.journal.note(world.now_s, "fault", fault="loss", what="<i>a third is lost</i>")


def report_of(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str = "/*plotly*/") -> str:
    monkeypatch.setattr(policies, "make", lambda name: Planned((30.0, grows)))
    rows = [(float(at), 500 + 700 * (at % 2), 11) for at in range(0, 100, 5)]
    recording = Recording()
    outcome = simulate(
        scenario(folder, rows, to_s=120.0),
        "planned",
        journal=Journal(recording.hear),
        watch=[recording.attach],
    )
    summary = summarize(outcome, wall_s=1.0, cpu_s=1.0)
    return report_html(outcome, summary, recording, script)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return report_of(tmp_path, monkeypatch)


@pytest.fixture
def charts(page: str) -> dict[str, Any]:
    drawn = [json.loads(text) for text in DATA.findall(page)]
    return {chart["layout"]["title"]["text"]: chart for chart in drawn}


def traces(chart: dict[str, Any]) -> dict[str, Any]:
    return {trace["name"]: trace for trace in chart["data"]}


def test_there_is_a_chart_of_everything_that_was_asked_for(charts: dict[str, Any]) -> None:
    assert list(charts) == [
        "Demand by class",
        "GPUs held by pool, under the budget",
        "Ready replicas by pool, and decisions",
        "Requests that wait at the gateway",
        "Attainment by minute",
        "TTFT of short by minute",
        "ITL of short by minute",
        "TTFT of long by minute",
        "ITL of long by minute",
        "Routing shares of short, decode",
        "Routing shares of short, prefill",
    ]


def test_plotly_takes_every_chart(charts: dict[str, Any]) -> None:
    graph_objects = pytest.importorskip("plotly.graph_objects")
    for chart in charts.values():
        graph_objects.Figure(data=chart["data"], layout=chart["layout"])


def test_demand_has_the_forecast_with_its_band_at_the_time_it_is_of(
    charts: dict[str, Any],
) -> None:
    shown = traces(charts["Demand by class"])
    assert list(shown) == [
        "short, band, low", "short, band", "short, forecast", "short", "long",
    ]  # fmt: skip
    assert shown["short, band"]["fill"] == "tonexty"
    assert shown["short, forecast"]["y"] == [1.0] * 13
    assert shown["short, forecast"]["x"][0] == pytest.approx(10.0 / 60.0, abs=1e-3)
    assert sum(shown["short"]["y"]) * 10.0 == pytest.approx(10.0)


def test_gpus_are_stacked_by_pool_under_the_budget(charts: dict[str, Any]) -> None:
    shown = traces(charts["GPUs held by pool, under the budget"])
    assert list(shown) == ["prefill", "decode", "charged", "budget"]
    assert shown["prefill"]["stackgroup"] == shown["decode"]["stackgroup"]
    assert shown["prefill"]["y"] == [1, 1, 1, *[2] * 10]
    assert shown["decode"]["y"] == [2] * 13
    assert shown["budget"]["y"] == [16] * 13


def test_a_decision_is_a_point_that_says_why_and_a_row(page: str, charts: dict[str, Any]) -> None:
    chart = charts["Ready replicas by pool, and decisions"]
    points = [trace for trace in chart["data"] if trace["mode"] == "markers" and trace["x"]]
    assert [(point["x"], point["y"]) for point in points] == [([0.5], [2])]
    assert points[0]["text"][0].startswith("prefill 1 to 2: ")
    assert "<td>1 → 2</td>" in page
    assert "a third is lost" in page


def test_latencies_stand_beside_their_target(charts: dict[str, Any]) -> None:
    shown = traces(charts["TTFT of long by minute"])
    assert list(shown) == ["p50", "p95", "p99", "target"]
    assert shown["target"]["y"] == [2000.0, 2000.0]
    assert shown["p50"]["y"][0] == pytest.approx(1220.0, rel=0.05)


def test_texts_of_others_are_never_markup(page: str, charts: dict[str, Any]) -> None:
    assert "<b>" not in page
    assert "<i>" not in page
    assert page.count("</script>") == page.count("<script")
    assert "&lt;b&gt;" in json.dumps(charts["Ready replicas by pool, and decisions"])


def test_the_page_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("plotly")
    page = report_of(tmp_path, monkeypatch, plotly_script())
    head, body = page.split("</head>")
    assert "Plotly" in head
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", head[:2000] + body)


def test_one_seed_gives_one_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert report_of(tmp_path, monkeypatch) == report_of(tmp_path, monkeypatch)


def test_looking_does_not_change_what_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "make", lambda name: Planned((30.0, grows)))
    rows = [(float(at), 500, 11) for at in range(50)]
    seen = simulate(scenario(tmp_path, rows, to_s=60.0), "planned", watch=[Recording().attach])
    unseen = simulate(scenario(tmp_path, rows, to_s=60.0), "planned")
    summaries = [summarize(outcome, wall_s=0.0, cpu_s=0.0) for outcome in (seen, unseen)]
    alike = [summary.model_copy(update={"events": 0, "checks": 0}) for summary in summaries]
    assert alike[0] == alike[1]
