from router.frontend.headers import RequestIds, response_headers, upstream_headers
from weir.http1.messages import Header


def request(*headers: Header) -> dict[bytes, bytes]:
    return dict(headers)


def test_a_request_id_is_the_clients_if_it_is_fit() -> None:
    ids = RequestIds()
    assert ids.of(request((b"x-request-id", b"mine"))) == b"mine"
    made = {
        ids.of(request()),
        ids.of(request((b"x-request-id", b""))),
        ids.of(request((b"x-request-id", b"x" * 201))),
        ids.of(request((b"x-request-id", b"\xff"))),
    }
    assert len(made) == 4
    assert all(len(each) < 40 for each in made)


def test_two_routers_make_different_ids() -> None:
    assert RequestIds().of(request()) != RequestIds().of(request())


def test_headers_named_by_connection_stop_here() -> None:
    headers = [(b"x-a", b"1"), (b"connection", b"close, X-A"), (b"x-b", b"2")]
    assert upstream_headers(headers, b"id") == [
        (b"x-b", b"2"),
        (b"x-request-id", b"id"),
    ]


def test_framing_headers_of_an_engine_are_not_handed_on() -> None:
    headers = [(b"content-length", b"1"), (b"transfer-encoding", b"chunked"), (b"date", b"d")]
    assert response_headers(headers, b"id") == [(b"date", b"d"), (b"x-request-id", b"id")]


def test_what_is_between_the_client_and_the_router_stays_there() -> None:
    names = (b"x-weir-explain", b"x-llm-d-model-name-rewrite", b"x-gateway-model-name-rewrite")
    headers = [(name, b"1") for name in names]
    assert upstream_headers(headers, b"id") == [(b"x-request-id", b"id")]
    assert response_headers(headers[:1], b"id") == [(b"x-request-id", b"id")]
