"""The live table of `weir up` on a terminal, and the one line for everything else."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from weir.domain.fleet import RequestClass
from weir.local.replay import Progress
from weir.local.scoring import Outcome
from weir.local.tally import ClassView
from weir.local.view import PoolView, View

__all__ = ["progress_line", "render"]

_NONE = "–"


def render(view: View) -> RenderableType:
    """The whole screen."""
    parts: list[RenderableType] = [_head(view), _pool_table(view.pools), _class_table(view)]
    parts += [_decisions(view)] if view.decisions or view.holding else []
    parts += [_restarts(view)] if view.role_restarts else []
    parts += [_replay(view.replay)] if view.replay else []
    return Group(*(Padding(part, (0, 0, 1, 0)) for part in parts))


def progress_line(view: View) -> str:
    """What has happened so far, in one plain line."""
    pools = " ".join(f"{pool.name} {_replicas(pool)}" for pool in view.pools)
    parts = [
        f"{view.elapsed_s:.0f} s{'' if view.serving else ', starting'}",
        _requests(view.replay) if view.replay else "",
        f"GPUs {view.held_gpus}/{view.budget_gpus}",
        pools,
    ]
    slowest = [f"{c.name} p95 {_latency(c, seen)}" for c, seen in view.classes if _measured(seen)]
    restarts = [f"{name} restarted {count}x" for name, count in view.role_restarts]
    return " | ".join(part for part in (*parts, *slowest, *restarts, view.holding) if part)


def _head(view: View) -> Text:
    charged = _NONE if view.charged_gpus is None else str(view.charged_gpus)
    text = Text(f"{view.endpoint}/v1", style="bold" if view.serving else "dim")
    text.append(
        f"{'' if view.serving else ' (starting)'}   {view.elapsed_s:.0f} s   speed {view.speed:g}"
        f"   GPUs held {view.held_gpus}, charged {charged}, budget {view.budget_gpus}",
        style="not bold",
    )
    return text


def _pool_table(pools: Sequence[PoolView]) -> Table:
    table = _table("pool", "role")
    for title in ("ready", "starting", "ending", "granted", "max", "in flight", "queued tokens"):
        table.add_column(title, justify="right")
    table.add_column("restarts", justify="right")
    for pool in pools:
        state = pool.state
        counts = (state.ready, state.starting, state.terminating, pool.granted, pool.most)
        cells = [_number(value) for value in (*counts, pool.in_flight, pool.queued_tokens)]
        table.add_row(pool.name, pool.role, *cells, str(pool.restarts or ""))
    return table


def _class_table(view: View) -> Table:
    table = _table("class")
    for title in ("req/s", "queued", "TTFT p95", "SLO", "ITL p95", "SLO"):
        table.add_column(title, justify="right")
    for request_class, seen in view.classes:
        slo = request_class.slo
        table.add_row(
            request_class.name,
            f"{seen.rate_rps:.1f}" if seen else _NONE,
            _number(seen.queued if seen else None),
            _against(seen.ttft_p95_s if seen else None, slo.ttft_s),
            _ms(slo.ttft_s),
            _against(seen.itl_p95_s if seen else None, slo.itl_s),
            _ms(slo.itl_s),
        )
    return table


def _decisions(view: View) -> RenderableType:
    parts: list[RenderableType] = []
    if view.decisions:
        table = _table("at", "pool", "replicas", "last decisions")
        for decision in view.decisions:
            change = f"{decision.before} → {decision.after}"
            table.add_row(f"{decision.at_s:.0f} s", decision.pool, change, decision.reason)
        parts.append(table)
    if view.holding:
        parts.append(Text(f"GlobalPlanner holds: {view.holding}", style="yellow"))
    return Group(*parts)


def _restarts(view: View) -> Text:
    named = ", ".join(f"{name} {count}x" for name, count in view.role_restarts)
    return Text(f"restarted: {named}", style="yellow")


def _replay(replay: Progress) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=1.0, completed=replay.share, width=30)
    grid.add_row("replay", bar, f"{replay.share:.0%}", _requests(replay))
    return grid


def _requests(replay: Progress) -> str:
    outcomes = replay.outcomes
    ended = ", ".join(
        f"{outcomes[outcome]} {outcome}"
        for outcome in (Outcome.COMPLETED, Outcome.FAILED, Outcome.SHED, Outcome.CANCELLED)
    )
    return f"{replay.sent} sent, {ended}, {replay.in_flight} in flight"


def _replicas(pool: PoolView) -> str:
    state = pool.state
    extra = f"+{state.starting}" if state.starting else ""
    ending = f"-{state.terminating}" if state.terminating else ""
    return f"{state.ready}{extra}{ending}"


def _measured(seen: ClassView | None) -> bool:
    return seen is not None and seen.ttft_p95_s is not None


def _latency(request_class: RequestClass, seen: ClassView | None) -> str:
    slo = request_class.slo
    ttft_s, itl_s = (seen.ttft_p95_s, seen.itl_p95_s) if seen else (None, None)
    return f"TTFT {_ms(ttft_s)}/{_ms(slo.ttft_s)} ITL {_ms(itl_s)}/{_ms(slo.itl_s)}"


def _against(value_s: float | None, target_s: float) -> Text:
    if value_s is None:
        return Text(_NONE)
    return Text(_ms(value_s), style="green" if value_s <= target_s else "red")


def _ms(value_s: float | None) -> str:
    return _NONE if value_s is None else f"{value_s * 1000:.0f} ms"


def _number(value: int | None) -> str:
    return _NONE if value is None else str(value)


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column)
    return table
