"""The public endpoint speaks TLS with the certificate that its files hold now."""

import asyncio
import shutil
import ssl
from pathlib import Path

import pytest

from router.adapters.static import static_fleet
from tests.integration.frontend.world import CHAT, LAST, STREAM, Client, answers, engine, whole
from tests.integration.pki import Pair, Pki
from tests.integration.router_world import STREAMED, RouterWorld, router
from weir.domain.ids import PoolId
from weir.domain.planning import PoolMembers
from weir.runtime.tls import ListenerTls

SAN = "IP:127.0.0.1"


def _installed(pair: Pair, folder: Path) -> ListenerTls:
    """The pair under the names that a router is given."""
    tls = ListenerTls(cert=folder / "live.pem", key=folder / "live.key")
    shutil.copy(pair.key, tls.key)
    shutil.copy(pair.cert, tls.cert)
    return tls


async def _connect(world: RouterWorld, ca: Path) -> Client:
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    host, port = world.public.host, world.public.port
    return Client(*await asyncio.open_connection(host, port, ssl=context))


def _subject(client: Client) -> str:
    certificate = client.writer.get_extra_info("peercert")
    return str(dict(pairs[0] for pairs in certificate["subject"])["commonName"])


async def test_whole_and_streamed_answers_over_tls_on_one_connection(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    tls = _installed(pki.pair("one", san=SAN), tmp_path)
    big = b'{"choices":[],"pad":"%b"}' % (b"x" * 3_000_000)
    async with engine(STREAMED) as streams, engine(answers(whole(big))) as sends:
        for at, body, ends in ((streams, STREAM, LAST), (sends, CHAT, big)):
            members = PoolMembers(pool_id=PoolId("default"), version=0, workers=(at.worker,))
            async with router(fleet=static_fleet(["m"]), workers=(members,), tls=tls) as world:
                client = await _connect(world, pki.ca)
                for _ in range(2):
                    client.send(body)
                    reply = await client.reply()
                    assert reply.status == 200
                    assert reply.body.endswith(ends)
                chosen = client.writer.get_extra_info("ssl_object").selected_alpn_protocol()
                assert chosen == "http/1.1"
                client.close()


async def test_plain_http_gets_no_answer_and_harms_nobody(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    tls = _installed(pki.pair("one", san=SAN), tmp_path)
    async with router(fleet=static_fleet(["m"]), tls=tls) as world:
        plain = await world.connect()
        plain.writer.write(b"GET /livez HTTP/1.1\r\nhost: t\r\n\r\n")
        with pytest.raises((ConnectionError, AssertionError)):
            assert (await plain.rest()).startswith(b"HTTP")
        client = await _connect(world, pki.ca)
        client.writer.write(b"GET /livez HTTP/1.1\r\nhost: t\r\n\r\n")
        assert (await client.reply()).status == 200
        client.close()


async def test_a_renewed_certificate_counts_for_the_next_connections(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    tls = _installed(pki.pair("one", san=SAN), tmp_path)
    async with router(fleet=static_fleet(["m"]), tls=tls) as world:
        before = await _connect(world, pki.ca)
        assert _subject(before) == "one"
        tls.key.write_text("not a key")  # half renewed: the old pair stays in use
        await asyncio.sleep(0)
        again = await _connect(world, pki.ca)
        assert _subject(again) == "one"
        _installed(pki.pair("two", san=SAN), tmp_path)
        async with asyncio.timeout(60.0):
            while _subject(renewed := await _connect(world, pki.ca)) != "two":
                renewed.close()
                await asyncio.sleep(0.05)
        before.writer.write(b"GET /livez HTTP/1.1\r\nhost: t\r\n\r\n")
        assert (await before.reply()).status == 200
        for client in (before, again, renewed):
            client.close()
