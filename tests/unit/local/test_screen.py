"""What people see: the live table, the progress line, the summary as text."""

import io

from rich.console import Console

from tests.unit.local.test_replicas import fleet
from tests.unit.test_summary import fields
from weir.domain.fleet import Budget
from weir.domain.planning import PoolState
from weir.local.dashboard import progress_line, render
from weir.local.replay import Progress
from weir.local.report import summary_text
from weir.local.scoring import Outcome
from weir.local.tally import ClassView
from weir.local.view import DecisionView, PoolView, View
from weir.summary import RunSummary

(EVERYTHING,) = fleet(Budget(gpus=8)).classes


def view(*, known: bool = True) -> View:
    progress = Progress(planned=10, sent=4)
    progress.outcomes.update({Outcome.COMPLETED: 2, Outcome.SHED: 1})
    seen = ClassView(rate_rps=1.5, queued=2, ttft_p95_s=2.0, itl_p95_s=0.02)
    return View(
        endpoint="http://127.0.0.1:8000",
        serving=known,
        elapsed_s=12.3,
        speed=4.0,
        pools=[
            PoolView(
                name="chat",
                role="agg",
                state=PoolState(ready=2, starting=1, terminating=1),
                granted=3 if known else None,
                most=4,
                in_flight=7 if known else None,
                queued_tokens=900 if known else None,
                restarts=1,
            )
        ],
        classes=[(EVERYTHING, seen if known else None)],
        held_gpus=4,
        charged_gpus=6 if known else None,
        budget_gpus=8,
        decisions=[DecisionView(at_s=9.0, pool="chat", before=2, after=3, reason="more load")],
        holding="" if known else "the GlobalPlanner does not answer",
        role_restarts=[("router", 2)],
        replay=progress,
    )


def drawn(shown: View) -> str:
    console = Console(file=io.StringIO(), width=140, force_terminal=False)
    console.print(render(shown))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_the_table_shows_pools_latencies_gpus_decisions_and_progress() -> None:
    text = drawn(view())
    for part in (
        "http://127.0.0.1:8000/v1",
        "GPUs held 4, charged 6, budget 8",
        "2000 ms",
        "20 ms",
        "2 → 3",
        "more load",
        "router 2x",
        "4 sent, 2 completed, 0 failed, 1 shed, 0 cancelled, 1 in flight",
    ):
        assert part in text


def test_what_is_not_known_is_a_dash_not_a_zero() -> None:
    text = drawn(view(known=False))
    assert "charged –" in text
    assert "(starting)" in text
    assert "GlobalPlanner holds: the GlobalPlanner does not answer" in text


def test_the_progress_line_is_one_line() -> None:
    line = progress_line(view())
    assert "\n" not in line
    assert "4 sent, 2 completed" in line
    assert "GPUs 4/8 | chat 2+1-1" in line
    assert "all p95 TTFT 2000 ms/1000 ms ITL 20 ms/100 ms" in line


def test_the_summary_as_text_has_every_number() -> None:
    text = summary_text(RunSummary(**fields()))
    assert "requests    10: 7 completed, 1 failed, 1 shed, 1 cancelled; 0 infeasible" in text
    assert "attainment  70.0%, goodput 0.50 req/s" in text
    assert "TTFT        p50 200 ms, p99 900 ms" in text
    assert "peak 6 of 8, 0 budget violations" in text
    assert "decode  decode  1-3       2      10" in text
    assert "1       10        70.0%" in text
