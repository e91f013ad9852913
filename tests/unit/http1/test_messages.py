import json

import pytest

from weir.http1.messages import Limits, Request, encode_request, encode_response_head
from weir.http1.openai import error_headers, error_type, openai_error, sse_error, sse_event


def test_a_response_head_is_a_status_line_and_headers() -> None:
    head = encode_response_head(200, [(b"a", b"1"), (b"b", b"2")], b"connection: close\r\n")
    assert head == b"HTTP/1.1 200 OK\r\na: 1\r\nb: 2\r\nconnection: close\r\n\r\n"
    assert encode_response_head(799, []).startswith(b"HTTP/1.1 799 ")


def test_a_request_has_its_host_and_the_length_of_its_body() -> None:
    assert encode_request("POST", "/x", [(b"a", b"1")], b"abc", b"h:1") == (
        b"POST /x HTTP/1.1\r\nhost: h:1\r\na: 1\r\ncontent-length: 3\r\n\r\n"
    )
    assert b"content-length: 0" in encode_request("POST", "/", [], b"", b"h")
    assert b"content-length" not in encode_request("GET", "/", [], b"", b"h")


def test_a_header_is_found_by_its_lower_case_name() -> None:
    request = Request("GET", "/", b"", [(b"a", b"1"), (b"a", b"2")], b"", True, "1.1")
    assert (request.header(b"a"), request.header(b"b")) == (b"1", None)


def test_the_shortest_timeout_is_known() -> None:
    assert Limits(linger_s=0.5).shortest_s == 0.5


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (404, "invalid_request_error"),
        (429, "rate_limit_exceeded"),
        (500, "server_error"),
        (503, "service_unavailable"),
    ],
)
def test_the_type_of_an_error_follows_from_its_status(status: int, kind: str) -> None:
    assert error_type(status) == kind
    assert json.loads(openai_error(status, "no"))["error"] == {
        "message": "no",
        "type": kind,
        "param": None,
        "code": None,
    }


def test_an_error_is_one_event() -> None:
    assert sse_event(b"{}") == b"data: {}\n\n"
    event = sse_error(502, "line\nbreak")
    assert event.count(b"\n") == 2
    assert json.loads(event[6:])["error"]["type"] == "upstream_error"


def test_retry_after_is_at_least_a_second() -> None:
    assert dict(error_headers(0.2))[b"retry-after"] == b"1"
    assert b"retry-after" not in dict(error_headers())
