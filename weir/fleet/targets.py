"""What pools are sized by: presets, the document's own thresholds, and what goes together."""

from collections.abc import Iterator

from weir.domain.fleet import Fleet, Role, Stage
from weir.domain.ids import ModelName
from weir.domain.targets import Target, Thresholds
from weir.fleet.document import Document, FleetSpec, PoolDocument
from weir.fleet.finding import Finding, at
from weir.fleet.tree import Path, Tree

__all__ = ["target_findings", "target_of", "threshold_findings", "thresholds_of"]

_WINDOWS = {Target.THROUGHPUT: (1.0, 0.1), Target.LATENCY: (0.1, 0.0)}
"""Prompt tokens queued at an engine, as a share of the longest context: up from, down below."""
_SHARES = {Target.THROUGHPUT: (1.0, 0.6), Target.LATENCY: (0.4, 0.1)}
"""Of what an engine holds: up above, down below."""


def target_of(spec: FleetSpec, pool: PoolDocument) -> Target:
    """Without one in the document: sla where something tells how fast replicas are.

    That is a profile, of this pool or of another one of its model, or forward passes that tell
    the time of iterations, which engines do not show at /metrics.
    """
    named = pool.target or spec.planner.target
    if named is not None:
        return named
    profiled = any(other.profile for other in spec.pools if other.model == pool.model)
    timed = spec.planner.telemetry.engines != "scrape"
    return Target.SLA if profiled or timed else Target.THROUGHPUT


def thresholds_of(
    spec: FleetSpec, pool: PoolDocument, context_limit_tokens: int
) -> Thresholds | None:
    """None of a pool that its own planner does not size. Raises `ValueError` saying what lacks."""
    target = target_of(spec, pool)
    if target is Target.SLA or pool.dynamo is not None:
        return None
    if target is Target.LOAD:
        return _own(spec, pool)
    if pool.role is not Role.PREFILL:
        up, down = _SHARES[target]
        return Thresholds(target=target, up=up, down=down, up_included=False, down_included=False)
    up, down = _WINDOWS[target]
    return Thresholds(
        target=target,
        up=up * context_limit_tokens,
        down=down * context_limit_tokens,
        down_included=down == 0.0,
    )


def threshold_findings(document: Document, tree: Tree) -> Iterator[Finding]:
    """Pools of target `load` whose thresholds are missing, or in the wrong order."""
    spec = document.spec
    for index, pool in enumerate(spec.pools):
        if pool.dynamo is not None and pool.target is not None:
            path: Path = ("spec", "pools", index, "target")
            yield at(tree, path, "its Dynamo planner sizes it: leave out `target` or `dynamo`")
            continue
        try:
            thresholds_of(spec, pool, context_limit_tokens=1)
        except ValueError as error:
            own = pool.load is not None
            path = ("spec", "pools", index, "load") if own else ("spec", "planner", "load")
            yield at(tree, path, f"pool {pool.name!r}: {error}")


def target_findings(fleet: Fleet, tree: Tree) -> Iterator[Finding]:
    """Pools that share the work of a stage, of which the GlobalPlanner sizes only some.

    It does not know what the others serve, and would size those for all of it.
    """
    first: dict[tuple[ModelName, Stage], tuple[str, Target]] = {}
    for index, pool in enumerate(fleet.pools):
        if pool.dynamo is not None:
            continue
        for stage in pool.role.stages:
            name, target = first.setdefault((pool.model, stage), (pool.id, pool.target))
            if (target is Target.SLA) != (pool.target is Target.SLA):
                message = (
                    f"is {pool.target}, but {name!r}, which shares the {stage} work of model"
                    f" {pool.model!r}, has {target}: give both {Target.SLA}, or neither"
                )
                yield at(tree, ("spec", "pools", index, "target"), message)
                break


def _own(spec: FleetSpec, pool: PoolDocument) -> Thresholds:
    load = pool.load or spec.planner.load
    prefill = pool.role is Role.PREFILL
    up, down = (
        (load.up_queued_tokens, load.down_queued_tokens)
        if prefill
        else (load.up_share, load.down_share)
    )
    unit = "queued_tokens" if prefill else "share"
    if up is None or down is None:
        raise ValueError(f"target load needs up_{unit} and down_{unit}")
    if up <= down:
        raise ValueError(f"down_{unit} must be below up_{unit}, is {down:g} and {up:g}")
    return Thresholds(target=Target.LOAD, up=up, down=down)
