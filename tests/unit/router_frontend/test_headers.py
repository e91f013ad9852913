import pytest

from router.frontend.headers import (
    RequestIds,
    response_headers,
    slo_s,
    tenant,
    upstream_headers,
)
from weir.domain.errors import RequestError
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


def test_the_current_name_of_a_header_goes_before_its_alias() -> None:
    old, new = (
        b"x-gateway-inference-fairness-id",
        b"x-llm-d-inference-fairness-id",
    )
    assert tenant(request((old, b"old"), (new, b"new"))) == "new"
    assert tenant(request((old, b"old"))) == "old"
    assert tenant(request()) == ""
    assert len(tenant(request((new, b"x" * 999)))) == 128


def test_targets_are_seconds_and_must_be_positive() -> None:
    assert slo_s(request((b"b", b"250")), b"a", b"b") == 0.25
    assert slo_s(request(), b"a") is None
    for value in (b"0", b"-1", b"x", b"inf", b"nan"):
        with pytest.raises(RequestError, match="header a"):
            slo_s(request((b"a", value)), b"a")


def test_headers_named_by_connection_stop_here() -> None:
    headers = [(b"x-a", b"1"), (b"connection", b"close, X-A"), (b"x-b", b"2")]
    assert upstream_headers(headers, b"id") == [
        (b"x-b", b"2"),
        (b"x-request-id", b"id"),
    ]


def test_framing_headers_of_an_engine_are_not_handed_on() -> None:
    headers = [(b"content-length", b"1"), (b"transfer-encoding", b"chunked"), (b"date", b"d")]
    assert response_headers(headers, b"id") == [(b"date", b"d"), (b"x-request-id", b"id")]
