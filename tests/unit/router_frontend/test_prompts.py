"""What of a prompt is hashed, and that a conversation's next turn begins with it."""

from typing import Any

import orjson
import pytest

from router.core.reuse.ties import LEAST_SIZE, Ties, chain
from router.frontend.envelope import Endpoint, parse_envelope
from router.frontend.prompts import ties_of

SYSTEM = {"role": "system", "content": "You are terse. " * 200}
FIRST = {"role": "user", "content": "What is a weir? " * 200}
REPLY = {"role": "assistant", "content": "A low dam. " * 100}
NEXT = {"role": "user", "content": "And a dyke? " * 100}


def ties(body: dict[str, Any], session: str = "", *, pretty: bool = False) -> Ties | None:
    endpoint = Endpoint.CHAT if "messages" in body else Endpoint.COMPLETIONS
    option = orjson.OPT_INDENT_2 if pretty else None
    return ties_of(parse_envelope(endpoint, orjson.dumps({"model": "m"} | body, option)), session)


def hashes(body: dict[str, Any], **options: Any) -> tuple[int, ...]:
    found = ties(body, **options)
    assert found is not None
    return found.hashes


def common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum(a == b for a, b in zip(one, other, strict=False))


def test_the_next_turn_begins_with_all_blocks_of_the_last() -> None:
    turn = hashes({"messages": [SYSTEM, FIRST]})
    assert len(turn) == 6  # 6,200 bytes of text in blocks of 1,024
    assert hashes({"messages": [SYSTEM, FIRST, REPLY, NEXT]})[: len(turn)] == turn


def test_it_does_not_matter_how_the_client_formats_or_orders_its_body() -> None:
    messages = {"messages": [SYSTEM, FIRST]}
    assert hashes(messages, pretty=True) == hashes({"temperature": 0.5} | messages)


@pytest.mark.parametrize(
    "other",
    [
        {"messages": [SYSTEM | {"role": "user"}, FIRST]},
        {"messages": [SYSTEM, FIRST], "tools": [{"type": "function"}]},
        {"messages": [SYSTEM, FIRST], "cache_salt": "pepper"},
    ],
)
def test_roles_tools_and_salts_tell_prompts_apart(other: dict[str, Any]) -> None:
    assert common(hashes({"messages": [SYSTEM, FIRST]}), hashes(other)) == 0


def test_what_differs_later_is_shared_before() -> None:
    one = hashes({"messages": [SYSTEM, FIRST]})
    other = hashes({"messages": [SYSTEM, NEXT | {"content": NEXT["content"] * 3}]})
    assert common(one, other) == 2  # the system prompt's 3,000 bytes


def test_text_and_token_prompts_are_hashed_too() -> None:
    text = "abcdefgh" * 512
    assert common(hashes({"prompt": text}), hashes({"prompt": text + "more"})) == 4
    ids = list(range(1024))
    found = ties({"prompt": ids})
    assert found is not None and (len(found.hashes), found.size) == (4, 4096)
    assert common(found.hashes, hashes({"prompt": [*ids[:600], 5, *ids]})) == 2
    assert hashes({"prompt": [2**40, *ids]}) == ()


def test_short_prompts_have_nothing_but_their_session() -> None:
    short = {"messages": [{"role": "user", "content": "Hello"}]}
    assert ties(short) is None
    found = ties(short, "s")
    assert found is not None and (found.hashes, found.session) == ((), "s")


def test_long_prompts_have_few_blocks() -> None:
    assert len(chain(b"x" * 32 * 1024)) == 32
    assert len(chain(b"x" * 16 * 1024 * 1024)) == 32 + 9 * 16
    assert len(chain(b"x" * (LEAST_SIZE - 1))) == 0


def test_a_share_of_blocks_is_one_of_bytes_with_tools() -> None:
    made = Ties((1, 2, 3), size=4096)
    assert [made.share(blocks) for blocks in range(4)] == [0.0, 0.25, 0.5, 0.75]
    assert Ties((1,), size=3072, before=1024).share(1) == 0.5
