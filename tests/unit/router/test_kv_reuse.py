"""Which worker gets a prompt where engines tell what they hold.

Engines as in `builders`. Prompts of token ids here have blocks of 100 tokens.
"""

from array import array
from dataclasses import replace

import pytest

from router import config
from router.adapters.static import static_fleet
from router.core.request import RequestProfile, Route
from router.core.reuse.holdings import Cleared, Removed, Stored, TokenChain
from router.core.reuse.reuse import Reuse
from router.core.reuse.ties import Ties
from router.core.workers.worker import Worker
from router.frontend.envelope import Endpoint, parse_envelope
from router.frontend.prompts import ties_of
from router.service import RouterService
from tests.unit.router.builders import members, pool, request, service
from weir.domain.fleet import KvEvents, Role
from weir.domain.ids import PoolId, WorkerId

ENDS = range(100, 100_000, 100)
TELLS = KvEvents(port=1)
ISL = 1050


def tokens_of(number: int, tokens: int = ISL) -> bytes:
    return array("I", range(number, number + tokens)).tobytes()


def prompt(number: int, *, exact: bool = True) -> RequestProfile:
    """Of numbers in order from this one on; the router knows them only if `exact`."""
    hashes = tuple(hash((number, block)) for block in range(ISL // 100))
    profile = request(ISL, streaming=True)
    chain = TokenChain(tokens_of(number)) if exact else None
    profile.ties = Ties(hashes, ENDS, size=ISL, tokens=chain)
    return profile


class World:
    def __init__(self, *workers: str) -> None:
        spec = pool("p", Role.AGG, kv_events=TELLS)
        self.router: RouterService = service([spec], members("p", *workers))
        self.pool = self.router.pools[PoolId("p")]
        assert self.pool.reuse is not None and self.pool.reuse.holdings is not None
        self.reuse: Reuse = self.pool.reuse
        self.holdings = self.pool.reuse.holdings

    def worker(self, name: str) -> Worker:
        return self.pool.workers[WorkerId(name)]

    def stores(self, name: str, number: int, blocks: int = 10) -> None:
        """All of its cache is known; its hashes are the numbers of the blocks' last tokens."""
        worker = self.worker(name)
        if not self.holdings.complete(worker):
            self.holdings.begin(worker)
        hashes = [number + 100 * (block + 1) for block in range(blocks)]
        self.reuse.hear(worker, Stored(hashes, None, tokens_of(number, blocks * 100), 100))

    def goes(self, profile: RequestProfile) -> tuple[str, int]:
        """To which worker it would go, and what of it is expected there."""
        route = self.router.decide(profile, 0.0)
        assert isinstance(route, Route)
        return route.decode.worker.id, route.decode.cached_tokens

    def sends(self, profile: RequestProfile) -> str:
        flight = self.router.open(profile, 0.0)
        placed = self.router._dispatch.place(flight, 0.0)
        assert isinstance(placed, Route)
        flight.first_token(0.001)
        return placed.decode.worker.id


def test_a_prompt_goes_where_the_engine_says_it_is_although_nobody_sent_it() -> None:
    world = World("w1", "w2", "w3")
    for name in ("w1", "w2", "w3"):
        world.stores(name, 50_000 + 5_000 * int(name[1]))
    world.stores("w2", 7)
    world.stores("w3", 7, blocks=4)
    assert world.goes(prompt(7)) == ("w2", 1000)
    world.reuse.hear(world.worker("w2"), Removed([107]))  # without its first block it has nothing
    assert world.goes(prompt(7)) == ("w3", 400)


def test_what_was_sent_is_not_believed_where_the_engine_would_have_said_so() -> None:
    world = World("w1", "w2")
    home = world.sends(prompt(7))
    assert world.goes(prompt(7)) == (home, 1000)  # nothing has been heard yet
    for name in ("w1", "w2"):
        world.holdings.begin(world.worker(name))
    assert world.goes(prompt(7))[1] == 0
    world.stores(home, 7)
    assert world.goes(prompt(7)) == (home, 1000)


def test_what_is_known_of_an_engine_in_part_does_not_end_what_is_believed() -> None:
    world = World("w1", "w2")
    home = world.sends(prompt(7))
    worker = world.worker(home)
    world.reuse.hear(worker, Stored([1], None, tokens_of(7, 100), 100))
    assert not world.holdings.complete(worker)
    assert world.goes(prompt(7)) == (home, 1000)


def test_of_a_text_an_engine_that_cleared_its_cache_has_nothing() -> None:
    world = World("w1", "w2")
    home = world.sends(prompt(7, exact=False))
    assert world.goes(prompt(7, exact=False)) == (home, 1000)
    world.reuse.hear(world.worker(home), Cleared())
    assert world.goes(prompt(7, exact=False))[1] == 0


def test_of_texts_an_engine_has_no_more_than_it_holds() -> None:
    world = World("w1")
    worker = world.worker("w1")
    world.holdings.begin(worker)
    for number in (7, 8):
        world.sends(prompt(number, exact=False))
    world.stores("w1", 10_000)
    world.stores("w1", 20_000)
    assert world.reuse.index.held() == {worker: 2000}
    world.reuse.hear(worker, Removed([20_000 + 100 * block for block in range(1, 6)]))
    assert world.reuse.index.held() == {worker: 1500}
    assert world.reuse.index.depth(worker, prompt(8).ties.hashes) == 10  # type: ignore[union-attr]
    assert world.reuse.index.depth(worker, prompt(7).ties.hashes) == 5  # type: ignore[union-attr]


def test_a_worker_that_was_not_heard_to_the_end_is_forgotten() -> None:
    world = World("w1", "w2")
    world.stores("w2", 7)
    world.reuse.lose(world.worker("w2"))
    assert world.goes(prompt(7))[1] == 0 and not world.holdings.blocks


def test_a_worker_that_leaves_takes_along_what_it_told() -> None:
    world = World("w1", "w2")
    world.stores("w2", 7)
    world.router.apply_members(members("p", "w1", version=9))
    assert world.holdings.blocks == 0


def test_explanations_say_who_knows_it() -> None:
    world = World("w1", "w2")
    world.stores("w1", 7)
    world.stores("w2", 9_000)
    for exact in (True, False):
        flight = world.router.open_explained(prompt(7, exact=exact), 0.0)
        flight.see_pools(0.0)
        (view,) = flight.pools
        assert (view.cached_exact, view.cached_tokens) == (exact, 1000 if exact else 0)


def _ties(body: bytes, *, exact: bool = True) -> Ties | None:
    return ties_of(parse_envelope(Endpoint.COMPLETIONS, body), "", exact=exact)


def test_tokens_are_known_of_one_prompt_of_token_ids_and_of_no_other() -> None:
    ids = b"[" + b",".join(b"%d" % (n + 7) for n in range(ISL)) + b"]"
    ties = _ties(b'{"model":"m","prompt":' + ids + b"}")
    assert ties is not None and ties.tokens is not None
    assert list(ties.tokens.names(100)) == list(TokenChain(tokens_of(7)).names(100))
    others = [
        b'{"model":"m","prompt":' + ids + b',"cache_salt":"s"}',
        b'{"model":"m","prompt":[' + ids + b"]}",
        b'{"model":"m","prompt":"' + b"x" * 5000 + b'"}',
    ]
    for body in others:
        ties = _ties(body)
        assert ties is not None and ties.tokens is None
    ties = _ties(b'{"model":"m","prompt":' + ids + b"}", exact=False)
    assert ties is not None and ties.tokens is None  # nobody reads events


def test_without_the_extra_only_a_router_that_reads_events_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(config, "find_spec", lambda _: None)
    fleet = static_fleet(["m"])
    config.require_extras(fleet)
    told = replace(fleet, pools=(replace(fleet.pools[0], kv_events=TELLS),))
    with pytest.raises(config.UsageError, match=r"weir\[kv-events\]"):
        config.require_extras(told)
