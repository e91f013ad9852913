"""Classes: each can match, can be held by a context, can be served within its SLO."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from weir.domain.fleet import Fleet, PoolSpec, RequestClass, Role, Statistic
from weir.domain.ids import ModelName
from weir.domain.profile import EngineProfile
from weir.fleet.coverage import coverage_findings
from weir.fleet.feasible import Route, routes
from weir.fleet.finding import Finding, Level, at
from weir.fleet.tree import Path, Tree

__all__ = ["class_findings", "largest", "smallest", "why_unserved"]


def smallest(item: RequestClass) -> tuple[int, int]:
    """ISL and OSL of the class's shortest request; each has at least one token."""
    return max(1, item.isl_tokens.low), max(1, item.osl_tokens.low)


def largest(item: RequestClass) -> tuple[int, int]:
    """ISL and OSL of its longest request as far as the class bounds it, else the shortest."""
    isl_tokens, osl_tokens = smallest(item)
    isl_high, osl_high = item.isl_tokens.high, item.osl_tokens.high
    return (
        isl_tokens if isl_high is None else max(1, isl_high - 1),
        osl_tokens if osl_high is None else max(1, osl_high - 1),
    )


def class_findings(fleet: Fleet, tree: Tree) -> Iterator[Finding]:
    """Classes that no pool can serve, pools that no class can reach, gaps and overlaps."""
    declared = bool(tree.get(("spec", "classes")))
    kinds = _kinds(fleet)
    distinct = replace(fleet, pools=tuple(kinds.values()))
    everything = {
        model.name: found for model in fleet.models if (found := list(routes(distinct, model.name)))
    }
    for index, item in enumerate(fleet.classes):
        path: Path = ("spec", "classes", index) if declared else ("spec", "classes")
        if item.slo.statistic is Statistic.MEAN and tree.get((*path, "percentile")) is not None:
            message = "with statistic: mean the percentile means nothing"
            yield at(tree, (*path, "percentile"), message, level=Level.WARNING)
        problems = {name: _cannot(item, found) for name, found in everything.items()}
        served = any(problem is None for problem in problems.values())
        for name, problem in problems.items():
            if problem:
                level = Level.WARNING if served else Level.ERROR
                of_class = "" if declared else "the default class: "
                of_model = f"model {name!r}: " if len(everything) > 1 else ""
                yield at(tree, path, f"{of_class}{of_model}{problem}", level=level)
        if served:
            every = [route for found in everything.values() for route in found]
            yield from _too_long(item, every, path, tree)
    verdicts = {kind: _unreached(fleet, pool, everything) for kind, pool in kinds.items()}
    for index, pool in enumerate(fleet.pools):
        if verdict := verdicts[_kind(pool)]:
            message, level = verdict
            yield at(tree, ("spec", "pools", index), message, level=level)
    if declared:
        yield from coverage_findings(fleet.classes, tree)


def why_unserved(fleet: Fleet, item: RequestClass) -> str | None:
    """Why no idle pools serve even the shortest request of the class in time; None if some do."""
    found = [list(routes(fleet, model.name)) for model in fleet.models]
    problems = [_cannot(item, each) for each in found if each]
    return None if None in problems else next(iter(problems), "no pool serves any model")


def _cannot(item: RequestClass, found: Sequence[Route]) -> str | None:
    """Why none of these routes can serve even the shortest request of the class in time."""
    isl_tokens, osl_tokens = smallest(item)
    holding = [route for route in found if route.holds(isl_tokens, osl_tokens)]
    if not holding:
        return (
            f"context gap: no pool holds its shortest request of {isl_tokens} + {osl_tokens} "
            f"tokens (longest context {_longest(found)})"
        )
    if any(_in_time(route, item, isl_tokens) for route in holding):
        return None
    ttft_s = min(route.idle_ttft_s(isl_tokens) for route in holding)
    itl_s = min(route.idle_itl_s(isl_tokens) for route in holding)
    return (
        f"no pool can serve it within its SLO: idle, at ISL {isl_tokens}, the best TTFT is "
        f"{_ms(ttft_s)} (target {_ms(item.slo.ttft_s)}), the best ITL {_ms(itl_s)} "
        f"(target {_ms(item.slo.itl_s)})"
    )


def _ms(time_s: float) -> str:
    return f"{1e3 * time_s:.3g} ms" if time_s < 1.0 else f"{1e3 * time_s:.0f} ms"


def _longest(found: Sequence[Route]) -> int:
    return max(
        min(route.prefill.context_limit_tokens, route.decode.context_limit_tokens)
        for route in found
    )


def _in_time(route: Route, item: RequestClass, isl_tokens: int) -> bool:
    return (
        route.idle_ttft_s(isl_tokens) <= item.slo.ttft_s
        and route.idle_itl_s(isl_tokens) <= item.slo.itl_s
    )


def _too_long(
    item: RequestClass, found: Sequence[Route], path: Path, tree: Tree
) -> Iterator[Finding]:
    """What the class promises by an explicit upper bound, but no pool can do."""
    isl_tokens, osl_tokens = largest(item)
    holding = [route for route in found if route.holds(isl_tokens, osl_tokens)]
    if not holding:
        message = (
            f"context gap: requests of up to {isl_tokens} + {osl_tokens} tokens are in the class, "
            f"the longest context is {_longest(found)}; longer ones are refused"
        )
        yield at(tree, path, message, level=Level.WARNING)
    elif not any(_in_time(route, item, isl_tokens) for route in holding):
        message = (
            f"prompts of {isl_tokens} tokens are in the class, but no idle pool serves them within "
            "its SLO: they count as infeasible"
        )
        yield at(tree, path, message, level=Level.WARNING)


def _unreached(
    fleet: Fleet, pool: PoolSpec, everything: Mapping[ModelName, list[Route]]
) -> tuple[str, Level] | None:
    """Why no class has a use for the pool."""
    through = [r for found in everything.values() for r in found if _uses(r, pool)]
    if not through:
        return None  # the model's or the pool's own finding says so
    held = [
        (route, item) for route in through for item in fleet.classes if route.holds(*smallest(item))
    ]
    if not held:
        message = (
            f"unreachable: no class has a request that fits its context of "
            f"{pool.context_limit_tokens} tokens"
        )
        return message, Level.ERROR
    if not any(_in_time(route, item, smallest(item)[0]) for route, item in held):
        return "no class meets its SLO here, so nothing is planned for it", Level.WARNING
    return None


def _uses(route: Route, pool: PoolSpec) -> bool:
    return pool.id in (route.prefill.id, route.decode.id)


_Kind = tuple[ModelName, Role, str, int, bool, EngineProfile]


def _kind(pool: PoolSpec) -> _Kind:
    """All that matters here: large fleets have many pools of few kinds."""
    may_run, limit = pool.max_replicas > 0, pool.context_limit_tokens
    return pool.model, pool.role, pool.dialect, limit, may_run, pool.profile


def _kinds(fleet: Fleet) -> dict[_Kind, PoolSpec]:
    """The first pool of each."""
    kinds: dict[_Kind, PoolSpec] = {}
    for pool in fleet.pools:
        kinds.setdefault(_kind(pool), pool)
    return kinds
