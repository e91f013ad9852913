import tracemalloc

import pytest

from weir.http1.messages import Limits, Request
from weir.http1.requests import Refusal, RequestReader

HEAD = b"POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n"


def test_a_body_in_tiny_chunks_takes_little_more_memory_than_its_bytes() -> None:
    reader = RequestReader(Limits())
    reader.feed(HEAD)
    tracemalloc.start()
    for _ in range(20):
        reader.feed(b"2\r\nab\r\n" * 2_500)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 3 * 100_000
    reader.feed(b"0\r\n\r\n")
    request = reader.read.pop(0)
    assert isinstance(request, Request)
    assert request.body == b"ab" * 50_000


@pytest.mark.parametrize("connection", [b"", b"connection: keep-alive\r\n"])
def test_a_transfer_encoding_in_http_1_0_is_refused(connection: bytes) -> None:
    # Who does not know of it takes what follows the head for the next request.
    reader = RequestReader(Limits())
    head = b"POST / HTTP/1.0\r\n%btransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    reader.feed(head % connection)
    (refusal,) = reader.read
    assert isinstance(refusal, Refusal)
    assert refusal.status == 400
