"""Whatever the fleet and its load: a route is possible, and a wait has a reason."""

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from router.core.request import Leg, Outcome, Route, RouteReason, Wait, WaitReason
from router.service import RouterService
from tests.unit.router.builders import members, pool, request, service
from weir.domain.errors import RequestError
from weir.domain.fleet import PoolSpec, Role, Stage
from weir.domain.ids import ClassName, PoolId, WorkerId
from weir.domain.legs import TWO_LEGS, LegRules, WithoutPrefill
from weir.domain.planning import RoutingPlan

_specs = st.lists(
    st.tuples(st.sampled_from(Role), st.sampled_from([500, 4000]), st.sampled_from(["x", "y"])),
    min_size=1,
    max_size=6,
)
_sizes = st.lists(st.integers(0, 3), min_size=6, max_size=6)
_legs = st.builds(
    LegRules,
    direct_below_tokens=st.sampled_from([0, 100, 10_000]),
    without_prefill=st.sampled_from(WithoutPrefill),
)
_shares = st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=6, max_size=6)


def _fleet(
    shapes: list[tuple[Role, int, str]],
    sizes: list[int],
    shares: list[float] | None,
    legs: LegRules = TWO_LEGS,
) -> RouterService:
    specs = [
        pool(f"p{i}", role, context_limit_tokens=context, dialect=dialect)
        for i, (role, context, dialect) in enumerate(shapes)
    ]
    router = service(specs, legs=legs)
    for spec, size in zip(specs, sizes, strict=False):
        router.apply_members(members(spec.id, *(f"{spec.id}-{n}" for n in range(size))))
    if shares is not None:
        router.apply_plan(_plan(specs, shares))
    return router


def _plan(specs: list[PoolSpec], shares: list[float]) -> RoutingPlan:
    by_stage: dict[Stage, dict[PoolId, float]] = {stage: {} for stage in Stage}
    for spec, share in zip(specs, shares, strict=False):
        stage = Stage.DECODE if spec.role is Role.DECODE else Stage.PREFILL
        by_stage[stage][spec.id] = share
    return RoutingPlan(term=1, version=1, shares={ClassName("all"): by_stage})


def _check_leg(router: RouterService, leg: Leg, roles: set[Role], tokens: int) -> None:
    spec = router.pools[leg.pool_id].spec
    assert spec.role in roles
    assert tokens <= spec.context_limit_tokens
    assert not router.pools[leg.pool_id].workers[leg.worker.id].failures


@settings(max_examples=150, deadline=None)
@given(
    shapes=_specs,
    sizes=_sizes,
    shares=st.none() | _shares,
    legs=_legs,
    isls=st.lists(st.integers(1, 1500), min_size=1, max_size=25),
    failed=st.sets(st.integers(0, 17), max_size=5),
)
def test_a_route_fits_and_a_wait_means_that_no_worker_can(
    shapes: list[tuple[Role, int, str]],
    sizes: list[int],
    shares: list[float] | None,
    legs: LegRules,
    isls: list[int],
    failed: set[int],
) -> None:
    router = _fleet(shapes, sizes, shares, legs)
    assume(router.pools.models[0].serves_without(frozenset()))
    for number in failed:
        i, n = divmod(number, 3)
        if i < len(shapes):
            router.pools[PoolId(f"p{i}")].fail(WorkerId(f"p{i}-{n}"), 0.0)
    for isl in isls:
        profile = request(isl, max_tokens=50, isl_exact=True)
        try:
            flight = router.open(profile, 0.1)
        except RequestError:
            continue
        decision = router.decide(profile, 0.1)
        if isinstance(decision, Wait):
            _check_wait(router, decision)
            continue
        flight.sent(decision, 0.1)
        if decision.direct:
            _check_direct(router, decision, legs)
            continue
        if decision.prefill is None:
            _check_leg(router, decision.decode, {Role.AGG}, isl + 50)
            continue
        _check_leg(router, decision.prefill, {Role.PREFILL}, isl + 1)
        _check_leg(router, decision.decode, {Role.DECODE}, isl + 50)
        dialects = {
            router.pools[leg.pool_id].spec.dialect for leg in (decision.prefill, decision.decode)
        }
        assert len(dialects) == 1


def _check_direct(router: RouterService, route: Route, legs: LegRules) -> None:
    """A decode worker alone: for a short prompt, or since nobody else can compute it."""
    assert route.prefill is None
    _check_leg(router, route.decode, {Role.DECODE}, route.isl_tokens + 50)
    if route.reason is RouteReason.DIRECT:
        assert route.isl_tokens < legs.direct_below_tokens
        worker = router.pools[route.decode.pool_id].workers[route.decode.worker.id]
        assert worker.in_flight <= 7
    else:
        assert route.reason is RouteReason.NO_PREFILL
        assert legs.without_prefill is WithoutPrefill.RUN_ON_DECODE
        dialect = router.pools[route.decode.pool_id].spec.dialect
        needs = {Role.AGG: 50, Role.PREFILL: 1}
        for pool in router.pools:
            role, limit = pool.spec.role, pool.spec.context_limit_tokens
            if role is Role.AGG or (role is Role.PREFILL and pool.spec.dialect == dialect):
                assert route.isl_tokens + needs[role] > limit or not pool.usable(0.1)


def _check_wait(router: RouterService, wait: Wait) -> None:
    """Waiting for room means that every worker of the stage is busy."""
    if wait.reason is WaitReason.NO_WORKER and wait.stage is Stage.PREFILL:
        model = router.pools.models[0]
        assert not model.runs_on_decode
    if wait.reason is WaitReason.NO_ROOM:
        role = Role.DECODE if wait.stage is Stage.DECODE else None
        pools = [p for p in router.pools if (p.spec.role is Role.DECODE) is (role is not None)]
        assert any(w.in_flight for p in pools for w in p.workers.values())


@settings(max_examples=50, deadline=None)
@given(
    weights=st.lists(st.floats(0.05, 1.0), min_size=2, max_size=5),
    times=st.integers(20, 120),
)
def test_what_is_sent_follows_the_plan(weights: list[float], times: int) -> None:
    shapes = [(Role.AGG, 4000, "x")] * len(weights)
    router = _fleet(shapes, [1] * len(weights), weights)
    sent = dict.fromkeys((p.id for p in router.pools), 0)
    for _ in range(times):
        profile = request(10, max_tokens=2)
        flight = router.open(profile, 0.0)
        decision = router.decide(profile, 0.0)
        assert isinstance(decision, Route)
        flight.sent(decision, 0.0)
        sent[decision.decode.pool_id] += 1
        flight.finish(Outcome.COMPLETED, 0.0)
    total = sum(weights)
    for weight, count in zip(weights, sent.values(), strict=True):
        assert abs(count - times * weight / total) <= 2.0
