import tracemalloc

from router.core.request import Outcome
from router.frontend.observe import StreamWatch, find_cached, find_usage

ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
TOKEN = b'data: {"choices":[{"delta":{"content":"a data: b"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def watch(*reads: bytes, chunked: bool = True) -> StreamWatch:
    seen = StreamWatch(chunked=chunked)
    for read in reads:
        seen.see(chunk(read) if chunked else read)
    return seen


def test_output_tokens_are_events_that_hold_one() -> None:
    assert watch(ROLE, TOKEN, TOKEN, DONE).usage() == (None, 2)
    assert watch(TOKEN, TOKEN + TOKEN, DONE).usage() == (None, 3)


def test_text_that_looks_like_an_event_counts_only_where_it_cannot_be_told() -> None:
    assert watch(TOKEN).events == 1
    assert watch(TOKEN, chunked=False).events == 2


def test_what_the_engine_counted_goes_before_what_was_seen() -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":9}}\n\n'
    assert watch(TOKEN, usage, DONE).usage() == (5, 9)


def test_usage_is_found_in_any_spelling_but_not_in_text() -> None:
    assert find_usage(b'{"usage" : { "completion_tokens" :  4,"prompt_tokens":3 }}') == (3, 4)
    assert find_usage(b'{"usage":{"prompt_tokens":3}}') == (3, None)
    assert find_usage(b'{"usage":null}') == (None, None)
    assert find_usage(rb'{"text":"\"usage\":{\"prompt_tokens\":3}"}') == (None, None)
    assert find_usage(b"") == (None, None)


def test_an_error_event_makes_the_stream_failed() -> None:
    assert watch(TOKEN, DONE).outcome() is Outcome.COMPLETED
    assert watch(TOKEN, b'data: {"error":{"message":"x"}}\n\n').outcome() is Outcome.FAILED


def test_the_end_of_an_event_is_known() -> None:
    assert watch().after_event
    assert watch(TOKEN).after_event
    assert watch(TOKEN, chunked=False).after_event
    assert watch(b"data: x\r\n\r\n").after_event
    assert not watch(b"data: {").after_event


def test_of_large_reads_only_the_ending_is_held() -> None:
    watch = StreamWatch(chunked=False)
    large = b"data: %b\n\n" % (b"x" * 200_000)
    tracemalloc.start()
    try:
        for _ in range(8):
            watch.see(bytes(bytearray(large)))
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes < 100_000
    watch.see(b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":9}}\n\n')
    assert watch.usage() == (3, 9)
    assert watch.after_event


def test_cached_tokens_are_what_the_last_usage_says() -> None:
    details = b'{"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens": 8}}}'
    assert find_cached(details) == 8
    assert find_cached(b'{"usage":{"prompt_tokens":9,"prompt_tokens_details":null}}') == 0
    assert find_cached(b'{"usage":null}') is None
    assert find_cached(b'{"choices":[{"text":"\\"cached_tokens\\": 8"}]}') is None
    seen = StreamWatch(chunked=False)
    seen.see(b'data: {"choices":[{}]}\n\ndata: ')
    seen.see(details + b"\n\ndata: [DONE]\n\n")
    assert seen.cached() == 8
