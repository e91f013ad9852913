"""Options that several commands share."""

import argparse

import pytest

from weir.cli import options


@pytest.mark.parametrize(
    "text",
    [
        "nats://127.0.0.1:4222",
        "nats://a:4222,nats://b:4222,nats://c:4222",
        "tls://user:password@nats.example:4222",
        "localhost:4222",
    ],
)
def test_nats_takes_one_url_or_several(text: str) -> None:
    assert options.nats_urls(text) == text


@pytest.mark.parametrize(
    "text", ["", "nats://a:4222,", "nats://a:4222, nats://b:4222", "http://a:4222", "nats://a:x"]
)
def test_nats_refuses_what_is_no_url(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        options.nats_urls(text)
