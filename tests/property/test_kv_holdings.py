"""What is known of an engine's cache by its events, against the cache itself."""

from array import array
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from router.core.reuse.holdings import (
    Cleared,
    Event,
    Holdings,
    Order,
    Removed,
    Step,
    Stored,
    TokenChain,
)

BLOCK = 2
DEEPEST = 3
PROMPTS = st.lists(st.integers(0, 1), min_size=1, max_size=DEEPEST).map(
    lambda blocks: [token for token in blocks for _ in range(BLOCK)]
)
ASKED = [
    [*(token for token in blocks for _ in range(BLOCK)), 0]
    for blocks in product((0, 1), repeat=DEEPEST)
]
"""All that any engine may hold, and a token more each."""
STEPS = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from(("store", "store", "remove", "remove", "clear", "restart", "join")),
        PROMPTS,
        st.integers(0, 99),
        st.sampled_from((False, False, False, True)),
    ),
    min_size=12,
    max_size=40,
)

Path = tuple[int, ...]


class Engine:
    """Holds paths of tokens, evicts any of them, and names them by numbers that mean nothing."""

    def __init__(self) -> None:
        self.number = 0
        self.held: dict[Path, int] = {}
        self.names = 1000

    def store(self, prompt: list[int]) -> Stored | None:
        paths = [tuple(prompt[:end]) for end in range(BLOCK, len(prompt) + 1, BLOCK)]
        new = [path for path in paths if path not in self.held]
        if not new or new != paths[-len(new) :]:
            return None  # blocks in its middle are missing: not in one event
        parent = self.held.get(new[0][:-BLOCK])
        for path in new:
            self.names += 1
            self.held[path] = self.names
        tokens = array("I", new[-1][len(new[0]) - BLOCK :]).tobytes()
        return Stored([self.held[path] for path in new], parent, tokens, BLOCK)

    def remove(self, which: int) -> Removed | None:
        if not self.held:
            return None
        path = list(self.held)[which % len(self.held)]
        return Removed([self.held.pop(path)])

    def depth(self, prompt: list[int]) -> int:
        """How much of the prompt it would find, one token at least being computed."""
        depth = 0
        while depth + BLOCK < len(prompt) and tuple(prompt[: depth + BLOCK]) in self.held:
            depth += BLOCK
        return depth


class Listener:
    """Does with messages what the adapter does, for an engine that replays nothing."""

    def __init__(self, holdings: Holdings[str], name: str) -> None:
        self.holdings, self.name, self.order = holdings, name, Order()

    def hear(self, number: int, event: Event) -> None:
        step = self.order.look(number)
        if step is Step.RESTART:
            self.disconnect()
            step = self.order.look(number)
        if step is Step.GAP:
            self.holdings.forget(self.name)
            self.order.lose(number)
            step = self.order.look(number)
        assert step is Step.TAKE
        self.order.taken()
        if number == 0:
            self.holdings.begin(self.name)
        self.holdings.take(self.name, event)

    def disconnect(self) -> None:
        self.holdings.forget(self.name)
        self.order.reset()


class World:
    """An engine, who listens to it, and whether the last that it said was lost on its way."""

    def __init__(self, holdings: Holdings[str], name: str) -> None:
        self.engine = Engine()
        self.listener = Listener(holdings, name)
        self.lost = False
        self.whole = True
        """Everything has been heard since it held nothing."""

    def step(self, what: str, prompt: list[int], which: int, lost: bool) -> None:
        engine = self.engine
        event: Event | None = None
        if what == "store":
            event = engine.store(prompt)
        elif what == "remove":
            event = engine.remove(which)
        elif what == "clear":
            engine.held.clear()
            event = Cleared()
        elif what == "restart":
            self.engine = engine = Engine()
            self.lost, self.whole = False, True
            if which % 2:
                self.listener.disconnect()
            else:  # so fast that nobody notices but by the numbers
                event, lost = engine.store(prompt), False
        else:
            self.listener.disconnect()
            self.lost, self.whole = False, not engine.number
        if event is None:
            return
        if not lost:
            self.listener.hear(engine.number, event)
        engine.number += 1
        self.whole = (self.whole or isinstance(event, Cleared)) and not lost
        self.lost = lost


@given(STEPS)
def test_nothing_is_known_that_the_engine_does_not_hold(
    steps: list[tuple[str, str, list[int], int, bool]],
) -> None:
    holdings: Holdings[str] = Holdings()
    worlds = {name: World(holdings, name) for name in "ab"}
    for name, what, prompt, which, lost in steps:
        worlds[name].step(what, prompt, which, lost)
        for each in ASKED:
            chain = TokenChain(array("I", each).tobytes())
            found = holdings.holders(chain)
            for holder, world in worlds.items():
                known, held = holdings.tokens(holder, chain), world.engine.depth(each)
                assert found.get(holder, 0) == known
                assert world.lost or known <= held
                assert not world.whole or known == held
        for holder, world in worlds.items():
            if world.whole and world.engine.number:
                assert holdings.held_tokens(holder) == len(world.engine.held) * BLOCK
    for name in worlds:
        holdings.forget(name)
    assert holdings.blocks == 0 and not holdings.holders(TokenChain(bytes(64)))


def test_what_is_not_of_tokens_alone_counts_but_is_not_found() -> None:
    holdings: Holdings[str] = Holdings()
    tokens = array("I", [1, 2, 3, 4]).tobytes()
    holdings.begin("a")
    holdings.take("a", Stored([7, 8], None, tokens, BLOCK, plain=False))
    assert holdings.held_tokens("a") == 4
    assert holdings.tokens("a", TokenChain(array("I", [1, 2, 3, 4, 5]).tobytes())) == 0


def test_blocks_whose_beginning_was_not_heard_are_not_found() -> None:
    holdings: Holdings[str] = Holdings()
    holdings.take("a", Stored([8], 7, array("I", [1, 2]).tobytes(), BLOCK))
    assert holdings.tokens("a", TokenChain(array("I", [1, 2, 3]).tobytes())) == 0
    assert not holdings.complete("a") and holdings.held_tokens("a") is None


def test_beyond_so_many_blocks_nothing_is_learned_and_nothing_counts_as_complete() -> None:
    holdings: Holdings[str] = Holdings(most_blocks=1)
    holdings.begin("a")
    holdings.take("a", Stored([7, 8], None, array("I", [1, 2, 3, 4]).tobytes(), BLOCK))
    assert holdings.blocks == 1 and not holdings.complete("a")
    assert holdings.tokens("a", TokenChain(array("I", [1, 2, 3, 4, 5]).tobytes())) == 2
