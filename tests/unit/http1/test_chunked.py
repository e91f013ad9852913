import pytest

from weir.http1.chunked import ChunkError, ChunkReader


def test_the_end_of_a_body_is_found_and_what_follows_is_not_taken() -> None:
    body = b"5\r\nhello\r\n0\r\n\r\n"
    assert ChunkReader().feed(body) == len(body)
    assert ChunkReader().feed(body + b"HTTP/1.1 200 OK") == len(body)
    assert ChunkReader().feed(body[:-1]) == -1


def test_the_payload_is_what_the_chunks_hold() -> None:
    pieces: list[bytes] = []
    ChunkReader().feed(b"5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n", pieces)
    assert b"".join(pieces) == b"hello0123456789"


def test_a_boundary_is_where_another_chunk_may_be_put_in() -> None:
    reader = ChunkReader()
    assert reader.at_boundary
    for piece, boundary in [
        (b"5\r", False),
        (b"\nhel", False),
        (b"lo", False),
        (b"\r", False),
        (b"\n", True),
        (b"3\r\nabc\r\n", True),
        (b"0\r\n", False),
    ]:
        assert reader.feed(piece) == -1
        assert reader.at_boundary is boundary, piece


@pytest.mark.parametrize(
    "size", [b"", b" 5", b"0x5", b"5_0", b"-1", b"+5", b"g", b"5 5", b"f" * 16, b"\xc2\xb2"]
)
def test_what_is_not_a_size_is_refused(size: bytes) -> None:
    with pytest.raises(ChunkError):
        ChunkReader().feed(size + b"\r\nhello\r\n")


def test_an_endless_size_line_is_refused() -> None:
    reader = ChunkReader()
    with pytest.raises(ChunkError):
        for _ in range(100):
            reader.feed(b"1;" + b"x" * 100)


@pytest.mark.parametrize(
    "body", [b"5\r\nhelloXX", b"5\r\nhello\n0", b"5\r\nhello\rX", b"5\r\nhelloX\n"]
)
@pytest.mark.parametrize("cut", range(12))
def test_a_chunk_ends_where_its_size_says_however_it_is_cut(body: bytes, cut: int) -> None:
    reader = ChunkReader()
    with pytest.raises(ChunkError):
        for piece in (body[:cut], body[cut:], b"\r\n0\r\n\r\n"):
            reader.feed(piece)


def test_trailers_are_fields_and_nothing_else() -> None:
    assert ChunkReader().feed(b"0\r\na: 1\r\nb:2\r\n\r\n") == 16
    for line in (b"HTTP/1.1 200 OK", b"a: 1\nb: 2", b"a: 1\rb", b"a b: 1", b": 1", b"a: \0"):
        with pytest.raises(ChunkError):
            ChunkReader().feed(b"0\r\n" + line + b"\r\n\r\n")
