"""How a fleet stands, as text for people."""

from collections.abc import Iterator, Sequence

from weir.api.v1 import planner_pb2
from weir.text import UNKNOWN, table

__all__ = ["status_lines"]

_CHANGES_SHOWN = 8
_AGE_SHOWN_S = 10.0


def status_lines(
    status: planner_pb2.StatusResponse, health: planner_pb2.HealthResponse
) -> Iterator[str]:
    """What matters most comes first; sections that have nothing to say are left out."""
    yield from _head(status, health)
    for title, lines in (
        ("pools", _pools(status.pools)),
        (f"routing plan {status.plan.term}.{status.plan.version}", _plan(status.plan)),
        ("set by operators", list(_overrides(status.overrides))),
        ("waiting for approval", _proposals(status.proposals)),
        ("last changes", _changes(status.decisions)),
    ):
        if lines:
            yield from ("", title, *(f"  {line}" for line in lines))


def _head(status: planner_pb2.StatusResponse, health: planner_pb2.HealthResponse) -> Iterator[str]:
    leads = f"leads in term {status.term}" if status.leading else "does not lead"
    mode = f", mode {status.mode}" if status.mode and status.mode != "act" else ""
    yield f"the GlobalPlanner {leads}{mode}"
    yield (
        f"{status.charged_gpus} of {status.budget_gpus} GPUs charged,"
        f" {status.peak_charged_gpus} at most so far"
    )
    for limit in status.limits:
        if limit.unit == "W":
            yield f"{limit.charged} of {limit.most} W charged ({limit.name})"
    if status.budget_violations:
        yield f"a limit has been exceeded {status.budget_violations} times"
    if health.problem:
        yield f"problem: {health.problem}"
    if status.holding and status.holding != health.problem:
        yield f"holding: {status.holding}"
    if status.infeasible_classes:
        yield f"infeasible, nothing grows for it: class {', '.join(status.infeasible_classes)}"
    if not health.growing and status.leading and not health.problem:
        yield "no pool may grow now"


def _pools(pools: Sequence[planner_pb2.PoolStatus]) -> list[str]:
    if not pools:
        return []
    header = ("pool", "granted", "wanted", "ready", "starting", "ending", "GPUs", "report", "why")
    return table(header, map(_pool, pools))


def _pool(pool: planner_pb2.PoolStatus) -> tuple[str, ...]:
    known = pool.HasField("state")
    state = (pool.state.ready, pool.state.starting, pool.state.terminating)
    return (
        pool.pool_id,
        str(pool.granted_replicas),
        str(pool.wanted_replicas),
        *(str(count) if known else UNKNOWN for count in state),
        str(pool.charged_gpus),
        _age(pool.report_age_s) if pool.HasField("report_age_s") else "never",
        pool.reason,
    )


def _plan(plan: planner_pb2.RoutingPlan) -> list[str]:
    rows = []
    for name, of_class in sorted(plan.classes.items()):
        for stage, shares in (("prefill", of_class.prefill), ("decode", of_class.decode)):
            if shares.share_by_pool:
                split = sorted(shares.share_by_pool.items(), key=lambda item: (-item[1], item[0]))
                rows.append(
                    (name, stage, ", ".join(f"{pool} {share:.0%}" for pool, share in split))
                )
    return table(("class", "stage", "goes to"), rows) if rows else []


def _overrides(overrides: planner_pb2.Overrides) -> Iterator[str]:
    if overrides.HasField("budget_gpus"):
        yield f"budget: {overrides.budget_gpus} GPUs"
    for gpu_class, gpus in sorted(overrides.gpus_by_class.items()):
        yield f"GPUs of class {gpu_class}: {gpus}"
    for name, targets in sorted(overrides.targets.items()):
        set_fields = ((field.name, value) for field, value in targets.ListFields())
        yield f"class {name}: {', '.join(f'{field} {value:g}' for field, value in set_fields)}"
    for pool, why in sorted(overrides.frozen.items()):
        yield f"pool {pool} is frozen: {why or 'no reason given'}"
    for pool, why in sorted(overrides.drained.items()):
        yield f"pool {pool} is drained: {why or 'no reason given'}"


def _proposals(proposals: Sequence[planner_pb2.Proposal]) -> list[str]:
    return [
        f"{proposal.id}: {change.pool_id} {change.before_replicas} -> {change.after_replicas}:"
        f" {change.reason}"
        for proposal in proposals
        for change in proposal.changes
    ]


def _changes(changes: Sequence[planner_pb2.Decision]) -> list[str]:
    return [
        f"{change.at_s:.0f} s  {change.pool_id} {change.before_replicas} ->"
        f" {change.after_replicas}: {change.reason}"
        + (f" ({change.decision_id})" if change.decision_id else "")
        for change in reversed(changes[-_CHANGES_SHOWN:])
    ]


def _age(age_s: float) -> str:
    return f"{age_s:.1f} s" if age_s < _AGE_SHOWN_S else f"{age_s:.0f} s"
