"""A GlobalRouter's file gives the same pool here as there: cell for cell, to the last bit.

`_Dynamo` says in the plainest words what the GlobalRouter computes, straight from the file's JSON.
"""

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from router.adapters.static import static_fleet
from router.core.request import Route
from router.service import RouterService
from tests.unit.router.builders import MODEL, members, request, service
from weir.domain.fleet import Role
from weir.domain.grid import Grid
from weir.domain.ids import PoolId, WorkerId
from weir.fleet.dynamo_grid_file import parse_grid


class _Dynamo:
    """One stage of a file, as the GlobalRouter reads it."""

    def __init__(self, document: dict[str, Any], role: str) -> None:
        self.names = document[f"{role}_pool_dynamo_namespaces"]
        self.plan = document[f"{role}_pool_selection_strategy"]
        self.mapping = self.plan[f"{role}_pool_mapping"]
        given = document.get(f"{role}_pool_priorities")
        self.priorities = given if given is not None else list(range(len(self.names)))
        self.retry = document.get("enable_priority_retry", False)

    def index(self, lo: float, hi: float, res: int, value: float) -> int:
        step = (hi - lo) / res
        return max(0, min(int((value - lo) / step), res - 1))

    def tokens(self, axis: str, value: int) -> int:
        plan = self.plan
        lo, hi = plan[f"{axis}_min"], plan[f"{axis}_max"]
        return self.index(lo, hi, plan[f"{axis}_resolution"], value)

    def target(self, axis: str, value: float | None, default: float | None) -> int:
        plan = self.plan
        lo = plan[f"{axis}_min_ms"] if f"{axis}_min_ms" in plan else plan[f"{axis}_min"]
        hi = plan[f"{axis}_max_ms"] if f"{axis}_max_ms" in plan else plan[f"{axis}_max"]
        if value is None:
            value = default if default is not None else (lo + hi) / 2
        return self.index(lo, hi, plan[f"{axis}_resolution"], value)

    def override(self, chosen: int, priority: int | None) -> int:
        if priority is None:
            return chosen
        for rule in self.plan.get("priority_overrides") or []:
            if rule["min_priority"] <= priority <= rule["max_priority"]:
                return int(rule["target_pool"])
        return chosen

    def order(self, chosen: int) -> list[str]:
        tried = [chosen]
        if self.retry:
            mine = self.priorities[chosen]
            for rank in sorted({p for p in self.priorities if p < mine}, reverse=True):
                tried += [i for i, p in enumerate(self.priorities) if p == rank]
        return [self.names[number] for number in tried]


def _expected(document: dict[str, Any], wish: "Wish", defaults: "Targets") -> list[list[str]]:
    """By stage, the pools in the order in which they are tried."""
    isl, ttft, itl, priority = wish
    if document.get("mode") == "agg":
        agg = _Dynamo(document, "agg")
        cells: Any = agg.mapping
        if "isl_resolution" in agg.plan:
            cells = cells[agg.tokens("isl", isl)]
        cell = cells[agg.target("ttft", ttft, defaults[0])][agg.target("itl", itl, defaults[1])]
        return [agg.order(agg.override(cell, priority))]
    prefill, decode = _Dynamo(document, "prefill"), _Dynamo(document, "decode")
    row = prefill.mapping[prefill.tokens("isl", isl)]
    first = row[prefill.target("ttft", ttft, defaults[0])]
    row = decode.mapping[decode.tokens("context_length", isl)]
    second = row[decode.target("itl", itl, defaults[1])]
    return [
        prefill.order(prefill.override(first, priority)),
        decode.order(decode.override(second, priority)),
    ]


# --- files -------------------------------------------------------------------------------

Wish = tuple[int, float | None, float | None, int | None]
"""ISL, TTFT and ITL target in ms, priority."""
Targets = tuple[float | None, float | None]

_ms = st.one_of(
    st.integers(0, 20_000),
    st.integers(0, 20_000_000).map(lambda number: number / 1000),
    st.integers(0, 10**9).map(lambda number: number / 10**6),
)
_axis = st.tuples(
    st.integers(0, 50) | st.floats(0.0, 50.0), st.integers(1, 3000) | st.floats(1.0, 3000.0)
)


@st.composite
def _span(draw: st.DrawFn, name: str, unit: str = "") -> dict[str, Any]:
    low, width = draw(_axis)
    unit = unit if draw(st.booleans()) else ""
    return {
        f"{name}_min{unit}": low,
        f"{name}_max{unit}": low + width,
        f"{name}_resolution": draw(st.integers(1, 7)),
    }


@st.composite
def _stage(draw: st.DrawFn, role: str, axes: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    count = draw(st.integers(1, 4))
    pool = st.integers(0, count - 1)
    strategy: dict[str, Any] = {}
    mapping: st.SearchStrategy[Any] = pool
    for name, unit in reversed(axes):
        span = draw(_span(name, unit))
        strategy |= span
        size = span[f"{name}_resolution"]
        mapping = st.lists(mapping, min_size=size, max_size=size)
    strategy[f"{role}_pool_mapping"] = draw(mapping)
    if draw(st.booleans()):
        ranges = st.tuples(st.integers(-5, 20), st.integers(0, 10), pool)
        strategy["priority_overrides"] = [
            {"min_priority": low, "max_priority": low + width, "target_pool": target}
            for low, width, target in draw(st.lists(ranges, max_size=3))
        ]
    document: dict[str, Any] = {
        f"num_{role}_pools": count,
        f"{role}_pool_dynamo_namespaces": [f"{role}-{number}" for number in range(count)],
        f"{role}_pool_selection_strategy": strategy,
    }
    if draw(st.booleans()):
        ranks = st.lists(st.integers(-2, 3), min_size=count, max_size=count)
        document[f"{role}_pool_priorities"] = draw(ranks)
    return document


_MS = "_ms"


@st.composite
def _documents(draw: st.DrawFn) -> dict[str, Any]:
    document: dict[str, Any] = {"enable_priority_retry": draw(st.booleans())}
    if draw(st.booleans()):
        isl = (("isl", ""),) if draw(st.booleans()) else ()
        axes = (*isl, ("ttft", _MS), ("itl", _MS))
        return document | {"mode": "agg"} | draw(_stage("agg", axes))
    if draw(st.booleans()):
        document["mode"] = "disagg"
    document |= draw(_stage("prefill", (("isl", ""), ("ttft", _MS))))
    return document | draw(_stage("decode", (("context_length", ""), ("itl", _MS))))


def _borders(document: dict[str, Any]) -> list[float]:
    """Where one bucket of some axis ends and the next begins."""
    found = []
    for key, plan in document.items():
        if key.endswith("strategy"):
            for name in ("isl", "context_length", "ttft", "itl"):
                lo = plan.get(f"{name}_min_ms", plan.get(f"{name}_min"))
                hi = plan.get(f"{name}_max_ms", plan.get(f"{name}_max"))
                count = plan.get(f"{name}_resolution")
                if lo is not None:
                    found += [lo + (hi - lo) * k / count for k in range(count + 1)]
    return found


@st.composite
def _wishes(draw: st.DrawFn, document: dict[str, Any]) -> Wish:
    """Values of all kinds, and those on borders above all."""
    border = st.sampled_from(_borders(document))
    on_border = border.map(lambda value: round(value, 6))
    tokens = st.integers(1, 5000) | border.map(lambda value: max(1, int(value)))
    return (
        draw(tokens),
        draw(st.none() | _ms | on_border),
        draw(st.none() | _ms | on_border),
        draw(st.none() | st.integers(-10, 40)),
    )


@st.composite
def _cases(draw: st.DrawFn) -> tuple[dict[str, Any], list[Wish], Targets]:
    document = draw(_documents())
    wishes = draw(st.lists(_wishes(document), min_size=1, max_size=8))
    defaults = st.none() | st.floats(0.1, 5000.0)
    return document, wishes, (draw(defaults), draw(defaults))


def _grid(document: dict[str, Any], defaults: Targets) -> Grid:
    file = parse_grid(json.dumps(document, indent=1))
    return file.grid(lambda name, role: PoolId(name), *defaults)


# --- the rules ---------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(case=_cases())
def test_every_request_is_of_the_same_cell(
    case: tuple[dict[str, Any], list[Wish], Targets],
) -> None:
    document, wishes, defaults = case
    grid = _grid(document, defaults)
    for wish in wishes:
        expected = _expected(document, wish, defaults)
        for stage, order in zip((grid.head, grid.decode), expected, strict=False):
            assert stage is not None
            assert list(grid.order(stage, stage.choose(*wish))) == order
        assert (grid.decode is None) == (len(expected) == 1)


def _router(document: dict[str, Any], grid: Grid) -> RouterService:
    """With two workers in each pool."""
    names = [
        (name, Role(role))
        for role in ("prefill", "decode", "agg")
        for name in document.get(f"{role}_pool_dynamo_namespaces", ())
    ]
    return service(
        static_fleet([MODEL], names).pools,
        *(members(name, f"{name}-w0", f"{name}-w1") for name, _ in names),
        grid=grid,
    )


@settings(max_examples=150, deadline=None)
@given(case=_cases(), failures=st.integers(0, 5))
def test_a_request_goes_where_dynamo_sends_it_and_then_where_dynamo_tries_next(
    case: tuple[dict[str, Any], list[Wish], Targets], failures: int
) -> None:
    document, wishes, defaults = case
    router = _router(document, _grid(document, defaults))
    for wish in wishes:
        isl, ttft_ms, itl_ms, priority = wish
        profile = request(
            isl,
            isl_exact=True,
            max_tokens=None,
            ttft_s=None if ttft_ms is None else ttft_ms / 1e3,
            itl_s=None if itl_ms is None else itl_ms / 1e3,
            priority=None if priority is None else -priority,
        )
        expected = _expected(document, wish, defaults)
        for stage, order in enumerate(expected):
            failed = frozenset(WorkerId(f"{name}-w0") for name in order[:failures])
            decision = router.decide(profile, 0.0, failed)
            assert isinstance(decision, Route)
            legs = [leg for leg in (decision.prefill, decision.decode) if leg is not None]
            # Who has tried all of them goes to another worker of the first.
            assert legs[stage].pool_id == order[failures if failures < len(order) else 0]
            assert len(legs) == len(expected)
            assert all(leg.worker.id not in failed for leg in legs)


_TARGET_MS = st.integers(1, 10**12).map(lambda number: number / 10**6)


@settings(max_examples=100, deadline=None)
@given(ttft_ms=_TARGET_MS)
@example(ttft_ms=1001.0)
def test_a_target_on_a_border_stays_on_its_side_though_it_came_in_seconds(ttft_ms: float) -> None:
    plan = {"ttft_min_ms": 0, "ttft_max_ms": 2 * ttft_ms, "ttft_resolution": 2}
    plan |= {"itl_min_ms": 0, "itl_max_ms": 1, "itl_resolution": 1, "agg_pool_mapping": [[0], [1]]}
    document = {
        "mode": "agg",
        "num_agg_pools": 2,
        "agg_pool_dynamo_namespaces": ["strict", "loose"],
        "agg_pool_selection_strategy": plan,
    }
    router = _router(document, _grid(document, (None, None)))
    decision = router.decide(request(ttft_s=ttft_ms / 1e3, max_tokens=None), 0.0)
    assert isinstance(decision, Route)
    assert decision.decode.pool_id == "loose"
