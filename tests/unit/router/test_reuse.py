"""Which worker gets a prompt that some have computed before.

Engines as in `builders`: 1 ms per prompt token. Prompts have blocks of 100 tokens here.
"""

from typing import Any

from router.core.elsewhere import Told
from router.core.flight import Flight
from router.core.request import Leg, Outcome, RequestProfile, RetryReason, Route
from router.core.reuse.reuse import Reuse
from router.core.reuse.ties import Ties
from router.core.traffic import PoolLog
from router.core.workers.worker import Load
from router.service import RouterService
from tests.unit.router.builders import PROFILE, members, pool, request, service
from weir.domain.fleet import Role
from weir.domain.ids import PoolId
from weir.domain.profile import EngineProfile

ENDS = range(100, 100_000, 100)


def prompt(
    *blocks: int, session: str = "", isl: int | None = None, **fields: Any
) -> RequestProfile:
    """Of 100 tokens for each block; blocks of equal numbers in equal places are equal."""
    isl = 100 * len(blocks) if isl is None else isl
    hashes = tuple(hash(blocks[: i + 1]) for i in range(len(blocks)))
    profile = request(isl, streaming=True, **fields)
    profile.ties = Ties(hashes, ENDS, size=isl, session=session)
    return profile


def router(*workers: str, role: Role = Role.AGG, profile: EngineProfile = PROFILE) -> RouterService:
    return service([pool("p", role, profile=profile)], members("p", *workers))


def send(router: RouterService, profile: RequestProfile, now_s: float = 0.0) -> tuple[Flight, Leg]:
    """On its way to the worker that gets its prompt."""
    flight = router.open(profile, now_s)
    placed = router._dispatch.place(flight, now_s)
    assert isinstance(placed, Route)
    return flight, placed.prefill or placed.decode


def end(flight: Flight, now_s: float, output_tokens: int = 2) -> None:
    flight.first_token(now_s)
    flight.finish(Outcome.COMPLETED, now_s, flight.sized.isl_tokens, output_tokens)


def serve(router: RouterService, profile: RequestProfile, now_s: float = 0.0) -> Leg:
    flight, leg = send(router, profile, now_s)
    end(flight, now_s + 0.001)
    return leg


def burden(router: RouterService, leg: Leg, queued_tokens: int) -> None:
    """Another process has so much on that worker."""
    load = Load(in_flight=1, kv_tokens=queued_tokens, queued_tokens=queued_tokens)
    router.told("other", Told(loads={leg.pool_id: {leg.worker.id: load}}))


def test_the_next_turn_goes_where_the_last_one_was_computed() -> None:
    r = router("a", "b", "c")
    first = serve(r, prompt(1, 2, 3))
    for _ in range(4):
        serve(r, prompt(9, isl=150))
    leg = serve(r, prompt(1, 2, 3, 4))
    assert leg.worker == first.worker
    assert leg.cached_tokens == 300


def test_at_least_one_token_is_new() -> None:
    r = router("a", "b")
    serve(r, prompt(1, 2))
    assert serve(r, prompt(1, 2)).cached_tokens == 199


def test_a_worker_that_is_much_busier_does_not_get_it() -> None:
    r = router("a", "b")
    first = serve(r, prompt(1, 2, 3))
    # What is cached counts three times: 300 tokens outweigh 850 that are queued, and not 950.
    burden(r, first, queued_tokens=850)
    flight, leg = send(r, prompt(1, 2, 3, 4))
    assert (leg.worker, leg.cached_tokens) == (first.worker, 300)
    end(flight, 0.1)
    burden(r, first, queued_tokens=950)
    _, leg = send(r, prompt(1, 2, 3, 5))
    assert leg.worker != first.worker
    assert leg.cached_tokens == 0


def test_what_all_have_is_no_reason_to_prefer_one() -> None:
    r = router("a", "b", "c")
    at_once = [send(r, prompt(1, isl=950))[0] for _ in range(3)]
    assert {w.in_flight for w in r.pools[PoolId("p")].workers.values()} == {1}
    for flight in at_once:
        end(flight, 1.0)
    legs = [serve(r, prompt(1), 2.0 + n) for n in range(6)]
    assert {leg.cached_tokens for leg in legs} == {99}
    assert len({leg.worker.id for leg in legs}) == 3


def test_only_what_is_new_is_queued() -> None:
    r = router("a", "b")
    serve(r, prompt(1, 2, 3))
    _, leg = send(r, prompt(1, 2, 3, 4))
    assert r.pools[PoolId("p")].workers[leg.worker.id].queued_tokens == 100
    log: PoolLog = r.traffic.pools[PoolId("p")]
    assert log.queued_tokens == 100


def test_targets_are_predicted_by_what_is_new() -> None:
    """800 tokens take 0.8 s, and 100 new ones 0.1 s."""
    r = router("a", "b")
    serve(r, prompt(*range(7)), 0.0)
    flight, leg = send(r, prompt(*range(8), ttft_s=0.2), 1.0)
    assert leg.cached_tokens == 700
    assert flight.route is not None
    assert flight.route.reason == "share"


def test_a_full_worker_is_no_use_however_much_it_has() -> None:
    r = router("a", "b")
    first = serve(r, prompt(1, 2, 3))
    pool_id, worker_id = first.pool_id, first.worker.id
    full = Load(in_flight=8)  # as many sequences as its engine runs
    r.told("other", Told(loads={pool_id: {worker_id: full}}))
    assert serve(r, prompt(1, 2, 3, 4), 1.0).worker != first.worker


def test_an_ejected_worker_is_left_alone() -> None:
    r = router("a", "b")
    flight, leg = send(r, prompt(1, 2, 3))
    flight.retry(leg, RetryReason.STATUS, 0.0)
    assert serve(r, prompt(1, 2, 3, 4), 0.1).worker != leg.worker


def test_a_worker_that_refused_to_connect_has_forgotten_all() -> None:
    r = router("a", "b")
    flight, leg = send(r, prompt(1, 2, 3))
    flight.retry(leg, RetryReason.CONNECT, 0.0)
    worker = r.pools[PoolId("p")].workers[leg.worker.id]
    reuse = r.pools[PoolId("p")].reuse
    assert reuse is not None
    assert reuse.index.depth(worker, prompt(1, 2, 3).ties.hashes) == 0  # type: ignore[union-attr]


def test_a_worker_that_leaves_takes_along_what_it_had() -> None:
    r = router("a", "b")
    serve(r, prompt(1, 2, 3))
    serve(r, prompt(4, 5, 6))
    reuse = r.pools[PoolId("p")].reuse
    assert reuse is not None and reuse.index.blocks == 6
    r.apply_members(members("p", "a", version=2))
    assert reuse.index.blocks == 3


def test_prefill_legs_are_chosen_by_what_is_there_too() -> None:
    r = service(
        [pool("p", Role.PREFILL), pool("d", Role.DECODE)], members("p", "a", "b"), members("d", "c")
    )
    first, head = send(r, prompt(1, 2, 3))
    first.prefill_done(0.3)
    end(first, 0.4)
    serve(r, prompt(7, 8))
    _, leg = send(r, prompt(1, 2, 3, 4), 1.0)
    assert leg.worker == head.worker
    assert leg.cached_tokens == 300


def test_without_prefix_caching_nothing_is_remembered() -> None:
    profile = EngineProfile(prefix_caching=False)
    r = router("a", "b", profile=profile)
    assert not r.reuses("tiny")
    assert r.pools[PoolId("p")].reuse is None
    assert serve(r, prompt(1, 2)).cached_tokens == serve(r, prompt(1, 2)).cached_tokens == 0


def test_ties_are_wanted_only_where_there_is_a_choice() -> None:
    r = router("a")
    assert not r.reuses("tiny")
    r.apply_members(members("p", "a", "b", version=2))
    assert r.reuses("tiny")
    assert not r.reuses("another")


def test_a_pool_that_has_the_conversation_goes_before_its_turn() -> None:
    r = service([pool("p", Role.AGG), pool("q", Role.AGG)], members("p", "a"), members("q", "b"))
    first = serve(r, prompt(1, 2, 3))
    assert {serve(r, prompt(1, 2, 3, n)).pool_id for n in range(4, 8)} == {first.pool_id}
    assert {serve(r, prompt(10 + n, 2, 3)).pool_id for n in range(8)} == {"p", "q"}


# --- what engines tell ----------------------------------------------------------------------


def test_hits_that_never_come_are_not_expected_for_long() -> None:
    reuse = Reuse(10_000)
    assert reuse.told(1000, 0, 1)  # It tells, if there is anything to tell.
    r = router("a", "b")
    first = serve(r, prompt(*range(8)))
    worker = r.pools[PoolId("p")].workers[first.worker.id]
    reuse.index.insert(worker, prompt(*range(8)).ties.hashes, ENDS, 1e6)  # type: ignore[union-attr]
    ties = prompt(*range(9)).ties
    assert ties is not None
    assert reuse.cached_tokens(worker, ties, 900, 0.0) == 800
    for _ in range(40):
        reuse.told(900, reuse.cached_tokens(worker, ties, 900, 0.0), 0)
    low = reuse.cached_tokens(worker, ties, 900, 0.0)
    assert low < 240
    for _ in range(200):
        reuse.told(900, reuse.cached_tokens(worker, ties, 900, 0.0), 800)
    assert reuse.cached_tokens(worker, ties, 900, 0.0) > 600


def test_engines_that_never_say_anything_are_believed_to_keep_prompts() -> None:
    reuse = Reuse(10_000)
    for _ in range(100):
        assert not reuse.told(900, 800, 0)
    assert reuse.asked_tokens == 0


def test_what_the_engine_says_is_counted_in_tokens_of_the_estimate() -> None:
    r = router("a", "b")
    serve(r, prompt(1, 2))
    flight, leg = send(r, prompt(1, 2, 3, 4))
    flight.reused(prompt_tokens=800, cached_tokens=400)  # twice as many as estimated
    end(flight, 1.0)
    reuse = r.pools[PoolId("p")].reuse
    assert reuse is not None
    assert (leg.cached_tokens, reuse.expected_tokens) == (200, 200)
    assert (reuse.asked_tokens, reuse.told_tokens) == (400, 200)


# --- sessions -------------------------------------------------------------------------------


def test_a_session_stays_where_it_was_without_any_common_prompt() -> None:
    r = router("a", "b", "c")
    first = serve(r, prompt(session="s", isl=50), 0.0)
    for n in range(5):
        serve(r, prompt(session=f"other{n}", isl=50), 1.0)
    leg = serve(r, prompt(session="s", isl=70), 2.0)
    assert leg.worker == first.worker
    assert leg.cached_tokens == 52  # its prompt and its output
    reuse = r.pools[PoolId("p")].reuse
    assert reuse is not None
    assert (reuse.sessions.kept, reuse.sessions.left) == (1, 0)


def test_a_session_leaves_a_worker_that_is_too_busy() -> None:
    r = router("a", "b")
    first = serve(r, prompt(session="s", isl=50))
    burden(r, first, queued_tokens=200)
    assert serve(r, prompt(session="s", isl=950), 0.1).worker != first.worker
    reuse = r.pools[PoolId("p")].reuse
    assert reuse is not None
    assert reuse.sessions.left == 1


def test_a_session_is_forgotten_after_half_an_hour() -> None:
    r = router("a", "b")
    serve(r, prompt(session="s", isl=50), 0.0)
    assert serve(r, prompt(session="s", isl=60), 1700.0).cached_tokens == 52
    assert serve(r, prompt(session="s", isl=70), 3600.0).cached_tokens == 0
