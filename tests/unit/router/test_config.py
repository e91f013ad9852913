"""Flags as a router's configuration."""

import pytest

from router.adapters.static import STATIC_POOL, static_fleet, static_members
from router.config import Address, UsageError, parse_address, router_id
from tests.unit.router.builders import fleet, pool
from weir.domain.fleet import Role


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:80", "127.0.0.1", 80),
        ("[::1]:0", "::1", 0),
        ("host.name:65535", "host.name", 65535),
    ],
)
def test_an_address_is_host_and_port(text: str, host: str, port: int) -> None:
    address = parse_address("--listen", text)
    assert address == Address(host=host, port=port)
    assert str(address) == text


@pytest.mark.parametrize("text", ["", "80", ":80", "host:", "host:x", "host:65536", "host:-1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--listen must be HOST:PORT"):
        parse_address("--listen", text)


def test_a_router_id_is_one_word_of_a_subject() -> None:
    assert router_id("my.host name-8080") == "my-host-name-8080"
    assert router_id("") == "router"


def test_workers_without_a_fleet_are_one_pool() -> None:
    (members,) = static_members(["http://a:8000", "http://[::1]:9/", "http://b"], None)
    assert members.pool_id == STATIC_POOL
    assert [w.id for w in members.workers] == ["a:8000", "[::1]:9", "b:80"]
    assert [(w.host, w.port) for w in members.workers] == [("a", 8000), ("::1", 9), ("b", 80)]


def test_workers_of_a_fleet_name_their_pool() -> None:
    the_fleet = fleet([pool("p", Role.PREFILL), pool("d", Role.DECODE)])
    found = static_members(["p=http://a:1", "d=http://b:1", "p=http://c:1"], the_fleet)
    assert {m.pool_id: len(m.workers) for m in found} == {"p": 2, "d": 1}
    for wrong in ("http://a:1", "x=http://a:1", "p=a:1"):
        with pytest.raises(UsageError):
            static_members([wrong], the_fleet)


def test_a_static_fleet_knows_the_model_by_all_its_names() -> None:
    made = static_fleet(["m", "alias"])
    assert (made.models[0].name, made.models[0].aliases) == ("m", ("alias",))
    assert [p.role for p in made.pools] == [Role.AGG]
