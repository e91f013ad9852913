"""Why a pool has what it has, what it waits for and what would change it, as text for people."""

from collections.abc import Iterator, Sequence

from globalplanner.core.budget.account import Account
from globalplanner.decisions import wording
from globalplanner.decisions.pool_now import LimitNow, PoolNow, Rival

__all__ = ["pool_lines"]

_NOTHING_RPS = 1e-6


def pool_lines(pool: PoolNow, *, last: str, undone: Sequence[str]) -> list[str]:
    """First what it is and has, then why, then what it waits for, then what would change it.

    `last`: its last change. `undone`: what was weighed and not done.
    """
    account = pool.account
    spec = account.spec
    told = [
        f"pool {spec.id}: {spec.role}, model {spec.model or 'unknown'}, "
        f"{spec.gpus_per_replica} x {spec.gpu_class or 'GPU'} a replica",
        wording.line("has", _has(pool)),
        wording.line("granted", _granted(account)),
        wording.line("why", pool.reason or "nothing has been decided yet"),
        wording.line("last", last),
        *wording.lines("limits", [_limit(limit) for limit in pool.limits]),
        *wording.lines("worth", list(_worth(pool))),
        *wording.lines("GPUs are at", [_rival(rival) for rival in pool.rivals]),
        *wording.lines("not done", undone),
    ]
    told += wording.lines("waits for", list(_waits(pool)))
    return told + wording.lines("to change", list(_changes(pool)))


def _has(pool: PoolNow) -> str:
    account = pool.account
    charged = f"{account.charged * account.spec.gpus_per_replica} GPUs charged"
    if account.report is None or pool.age_s is None:
        return f"nobody knows what: it has not reported to this leader; {charged}"
    state = account.report.state
    return (
        f"{state.ready} ready, {state.starting} starting, {state.terminating} "
        f"terminating; {charged}; reported {wording.ago(pool.age_s)}"
    )


def _granted(account: Account) -> str:
    spec = account.spec
    return (
        f"{account.granted} of {account.target} wanted (minimum {spec.min_replicas}, "
        f"floor {spec.floor_replicas}, guarantee {spec.guarantee_replicas}, "
        f"maximum {spec.most_replicas})"
    )


def _limit(limit: LimitNow) -> str:
    text = f"{limit.name}: {limit.charged} of {limit.most} {limit.unit} charged"
    if limit.price > 0.0:
        return f"{text}; one more would add {wording.rps(limit.price)}"
    return text


def _worth(pool: PoolNow) -> Iterator[str]:
    if pool.gain is None or (pool.view is not None and pool.view.wish is not None):
        return
    if pool.gain <= _NOTHING_RPS:
        yield "one more replica here, and nowhere else, would add nothing"
        return
    each = pool.gain / pool.account.spec.gpus_per_replica
    yield f"one more replica here would add {wording.rps(pool.gain)}, {wording.rps(each)} a GPU"


def _rival(rival: Rival) -> str:
    loss, each = max(0.0, rival.loss), max(0.0, rival.loss) / rival.gpus_per_replica
    return (
        f"{rival.pool_id}, {rival.gpus}: one replica fewer there would lose {wording.rps(loss)}, "
        f"{wording.rps(each)} a GPU ({rival.reason})"
    )


def _waits(pool: PoolNow) -> Iterator[str]:
    if pool.drained is not None:
        yield f"nothing, it is drained: {pool.drained or 'no reason given'}"
    elif pool.frozen is not None:
        yield f"nothing, it is frozen: {pool.frozen or 'no reason given'}"
    elif pool.view is not None and pool.view.held:
        yield f"nothing, it is held: {pool.view.held}"
    if pool.holding:
        yield f"what is not known: {pool.holding}"
    if pool.desired != pool.account.target:
        yield (
            f"approval: {pool.account.target} -> {pool.desired} is decided"
            if pool.mode == "approve"
            else f"nobody: {pool.account.target} -> {pool.desired} is advice (mode {pool.mode})"
        )
    if pool.waits:
        yield pool.waits.removeprefix("waits for ")


def _changes(pool: PoolNow) -> Iterator[str]:
    """The most binding comes first."""
    account, view = pool.account, pool.view
    if account.leaving:
        yield "put the pool back into the document; it ends when its last replica is gone"
    if account.misfit:
        yield account.misfit
    if pool.drained is not None:
        yield "undo the drain"
    if pool.frozen is not None:
        yield "thaw it"
    if account.report is None:
        yield "its pool planner has to report"
        return
    if account.report.withdrawn:
        yield "its pool planner has to be able to start replicas again"
    by_wish = view is not None and view.wish is not None
    if view is not None and not by_wish and not view.capacity_rps:
        yield "its pool planner has to report what a replica serves within SLO"
    if view is not None and not by_wish and view.backlog_replica_s is None:
        yield "it does not shrink until its pool planner knows what is queued"
    if pool.drained is not None or pool.frozen is not None or pool.holding:
        return
    if pool.desired != account.target:
        yield "weir approve" if pool.mode == "approve" else "let it act (spec.planner.advisory)"
    elif view is not None and view.wish is not None:
        yield from _other_wish(account, view.wish)
    elif not account.leaving:
        yield from _more(pool)
        yield from _less(pool)


def _other_wish(account: Account, wish: int) -> Iterator[str]:
    target = f"target {account.spec.target}" if account.spec.thresholds else "Dynamo"
    yield f"its own planner ({target}) has to ask for another number than {wish}"


def _more(pool: PoolNow) -> Iterator[str]:
    spec = pool.account.spec
    full = [limit.name for limit in pool.limits if limit.full]
    units = {"power" if limit.unit == "W" else limit.unit for limit in pool.limits if limit.full}
    what = " and ".join(sorted(units))
    if pool.account.target >= spec.most_replicas:
        yield f"more replicas: a higher maximum than {spec.most_replicas}"
    elif pool.gain is not None and pool.gain > _NOTHING_RPS:
        if full:
            yield f"more {what} under {' and '.join(full)}, or less demand for those that hold them"
    else:
        share = wording.percent(pool.utilization)
        yield f"more replicas: more demand than these carry at {share}"


def _less(pool: PoolNow) -> Iterator[str]:
    account, spec = pool.account, pool.account.spec
    if pool.lull is not None and pool.lull.replicas < account.target:
        left_s = max(0.0, pool.lull.since_s + pool.dwell_s - pool.now_s)
        yield (
            f"fewer replicas: {pool.lull.replicas} will do in {left_s:.0f} s "
            "unless more is needed until then"
        )
    elif account.target <= spec.min_replicas:
        yield f"fewer replicas: a lower minimum than {spec.min_replicas}"
