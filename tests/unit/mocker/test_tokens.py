from weir.mocker.tokens import (
    block_hashes,
    chat_material,
    natural_output_tokens,
    text_material,
    token_count,
    token_material,
)


def test_four_bytes_of_utf_8_are_a_token() -> None:
    assert [token_count(text_material(text)) for text in ("a", "abcd", "abcde", "éé")] == [
        1,
        1,
        2,
        1,
    ]


def test_a_message_costs_four_tokens_more_than_its_content() -> None:
    assert token_count(chat_material([("user", "abcd"), ("assistant", "")])) == 5 + 4


def test_each_token_id_is_a_token() -> None:
    assert token_count(token_material([0, 7, 2**32 - 1])) == 3


def test_a_hash_stands_for_all_that_comes_before_it() -> None:
    one = block_hashes(token_material([1, 2, 3, 4, 5]), 2)
    other = block_hashes(token_material([9, 2, 3, 4, 5]), 2)
    assert len(one) == len(other) == 2
    assert set(one).isdisjoint(other)


def test_a_conversation_keeps_its_hashes_when_it_grows() -> None:
    turn = [("user", "tell me a story about weirs"), ("assistant", "once upon a time")]
    short = block_hashes(chat_material(turn), 4)
    long = block_hashes(chat_material([*turn, ("user", "and then?")]), 4)
    assert long[: len(short)] == short


def test_answers_are_about_200_tokens_long_and_always_the_same() -> None:
    lengths = [natural_output_tokens(text_material(f"prompt {n}")) for n in range(5000)]
    assert 180 < sum(lengths) / len(lengths) < 220
    assert min(lengths) >= 1
    assert natural_output_tokens(text_material("prompt 7")) == lengths[7]
