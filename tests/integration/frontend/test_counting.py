"""Prompts that are counted before they are routed."""

import asyncio
from collections.abc import Sequence

import pytest

from router.core.request import RequestProfile
from router.frontend.counting import Counting, Which, prompt_texts
from tests.integration.frontend.world import CHAT, ScriptedService, World, answers, engine, whole
from tests.integration.frontend.world import world as make_world
from weir.domain.ids import ModelName

ANSWER = whole(b'{"choices":[]}')


class WordCounter:
    """A token is a word; `hold` keeps the answer back. None is counted of a text with `!`."""

    def __init__(self) -> None:
        self.counted: list[Sequence[str]] = []
        self.hold: asyncio.Event | None = None

    def knows(self, model: ModelName) -> bool:
        return model == "m"

    async def count(self, model: ModelName, texts: Sequence[str]) -> int | None:
        self.counted.append(texts)
        if self.hold is not None:
            await self.hold.wait()
        return None if any("!" in text for text in texts) else sum(len(t.split()) for t in texts)


class Borders:
    """Estimates of 100 tokens and more are near a border; the template adds 3 tokens."""

    def resolve(self, model: str) -> ModelName:
        return ModelName("m" if model == "alias" else model)

    def near_border(self, profile: RequestProfile) -> bool:
        return profile.isl_tokens >= 100

    def counted(self, profile: RequestProfile, text_tokens: int) -> None:
        profile.isl_tokens = text_tokens + 3
        profile.isl_counted = True


def _with(w: World, which: Which = "borders") -> WordCounter:
    counter = WordCounter()
    w.frontend._counting = Counting(counter, Borders(), which)
    return counter


def _chat(text: str, model: str = "m") -> dict[str, object]:
    return CHAT | {"model": model, "messages": [{"role": "user", "content": text}]}


async def test_a_prompt_near_a_border_is_counted_and_others_are_not() -> None:
    async with engine(answers(ANSWER)) as one, make_world([one]) as w:
        counter = _with(w)
        assert (await w.post(_chat("word " * 100, "alias"))).status == 200
        assert (w.flight.profile.isl_tokens, w.flight.profile.isl_counted) == (103, True)
        assert (await w.post(_chat("word " * 10))).status == 200
        assert (w.flight.profile.isl_tokens, w.flight.profile.isl_counted) == (12, False)
        assert len(counter.counted) == 1


async def test_a_request_may_ask_to_be_counted() -> None:
    async with engine(answers(ANSWER)) as one, make_world([one]) as w:
        _with(w, "asked")
        await w.post(_chat("word " * 100))
        assert not w.flight.profile.isl_counted
        await w.post(_chat("a word"), headers="x-weir-count-tokens: 1\r\n")
        assert (w.flight.profile.isl_tokens, w.flight.profile.isl_counted) == (5, True)


async def test_all_but_token_ids_are_counted_if_that_is_set() -> None:
    async with engine(answers(ANSWER)) as one, make_world([one]) as w:
        counter = _with(w, "always")
        await w.post({"model": "m", "prompt": ["one", "two three"]}, "/v1/completions")
        assert w.flight.profile.isl_tokens == 6
        await w.post({"model": "m", "prompt": [1, 2]}, "/v1/completions")
        assert (w.flight.profile.isl_tokens, len(counter.counted)) == (2, 1)


async def test_what_cannot_be_counted_is_routed_by_its_estimate() -> None:
    async with engine(answers(ANSWER)) as one, make_world([one]) as w:
        _with(w)
        assert (await w.post(_chat("word! " * 100))).status == 200
        assert (w.flight.profile.isl_tokens, w.flight.profile.isl_counted) == (150, False)


async def test_a_client_that_leaves_while_its_prompt_is_counted_costs_nothing_more() -> None:
    async with engine(answers(ANSWER)) as one, make_world([one]) as w:
        counter = _with(w)
        counter.hold = asyncio.Event()
        client = await w.connect()
        client.send(_chat("word " * 100))
        async with asyncio.timeout(10.0):
            while not counter.counted:
                await asyncio.sleep(0.001)
            client.close()
            while w.frontend._counting is not None and w.frontend._counting._tasks:
                await asyncio.sleep(0.001)
        assert isinstance(w.service, ScriptedService)
        assert not w.service.flights


async def test_an_unknown_model_is_refused_after_the_count_as_without_it() -> None:
    async with engine(answers(ANSWER)) as one, make_world([one]) as w:
        counter = _with(w, "always")
        counter.knows = lambda model: True  # type: ignore[method-assign]
        refused = await w.post(_chat("hello", "none"))
        assert (refused.status, refused.error["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        ({"prompt": "a"}, ["a"]),
        ({"prompt": ["a", "b"]}, ["a", "b"]),
        ({"prompt": [1, 2]}, []),
        (
            {
                "messages": [
                    {"role": "user", "content": "a"},
                    {"role": "user", "content": [{"type": "text", "text": "b"}, "c", {}]},
                    {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
                ],
                "tools": [{}],
            },
            ["a", "b", "c", '[{"id":"1"}]', "[{}]"],
        ),
    ],
)
def test_all_text_of_a_prompt_is_counted(data: dict[str, object], texts: list[str]) -> None:
    assert list(prompt_texts(data)) == texts
