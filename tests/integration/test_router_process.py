"""`weir router` as a process of its own, without any file."""

import asyncio
import signal
import subprocess

import pytest

from tests.integration.frontend.world import (
    CHAT,
    EVENT_STREAM,
    STREAM,
    answers,
    engine,
    hangs_after,
    whole,
)
from tests.integration.ports import free_port
from tests.integration.router_process import TOKEN, WEIR, held_stream, process, workers
from tests.integration.router_world import STREAMED


async def test_workers_on_the_command_line_are_one_pool_with_all_features() -> None:
    async with (
        engine(STREAMED) as one,
        engine(STREAMED) as two,
        process("--model", "m", "alias", *workers(one, two)) as weir,
    ):
        assert (await weir.get("/readyz")).status == 200
        assert [m["id"] for m in (await weir.get("/v1/models")).json["data"]] == ["m", "alias"]
        replies = [await weir.post(STREAM) for _ in range(4)]
        assert {reply.status for reply in replies} == {200}
        assert [len(one.requests), len(two.requests)] == [2, 2]
        assert (await weir.post(CHAT | {"model": "other"})).status == 404
        metrics = (await weir.get("/metrics")).body.decode().splitlines()
        assert 'weir_router_requests_total{class="default",outcome="completed"} 4.0' in metrics
        assert 'weir_router_rejected_total{status="404"} 1.0' in metrics
        assert (await weir.get("/metrics", control=True)).status == 200


async def test_sigterm_fails_readiness_finishes_the_stream_and_exits_0() -> None:
    go_on = asyncio.Event()
    async with (
        engine(held_stream(go_on)) as one,
        process("--model", "m", *workers(one)) as weir,
    ):
        client = await weir.connect()
        client.send(STREAM)
        assert (await client.head()).status == 200
        weir.child.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30.0):
            while (await weir.get("/readyz", control=True)).status != 503:
                await asyncio.sleep(0.02)
        go_on.set()
        body = await client.chunks()
        assert body.count(b"choices") == 200
        assert await weir.exit_code() == 0


async def test_drain_ends_at_its_deadline() -> None:
    async with (
        engine(hangs_after(EVENT_STREAM, TOKEN)) as one,
        process("--model", "m", "--drain-timeout-s", "0.2", *workers(one)) as weir,
    ):
        client = await weir.connect()
        client.send(STREAM)
        await client.head()
        weir.child.send_signal(signal.SIGTERM)
        assert await weir.exit_code() == 0


async def test_a_request_outlives_the_death_of_its_worker() -> None:
    async with engine(answers(whole(b'{"choices":[]}'))) as one:
        dead = f"http://127.0.0.1:{free_port()}"
        async with process("--model", "m", "--worker", dead, *workers(one)) as weir:
            replies = [await weir.post(CHAT) for _ in range(4)]
            assert {reply.status for reply in replies} == {200}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--fleet FILE, or --model NAME"),
        (["--model", "m"], "--worker"),
        (["--model", "m", "--worker", "ftp://x"], "ftp://x"),
        (["--model", "m", "--worker", "http://x:99999"], "http://x:99999"),
        (["--model", "m", "--worker", "http://x:1", "--worker", "http://x:1"], "twice"),
        (["--model", "m", "--worker", "http://x:1", "--listen", "nowhere"], "--listen"),
        (["--model", "m", "--worker", "http://x:1", "--speed", "0"], "--speed"),
        (["--model", "m", "--worker", "http://x:1", "--nats", "nats://x"], "--fleet"),
        (
            ["--model", "m", "--worker", "http://x:1", "--drain-timeout-s", "-1"],
            "--drain-timeout-s",
        ),
        (["--model", "m", "--worker", "http://x:1", "--tls-cert", "a.pem"], "--tls-key"),
        (["--fleet", "/nowhere.yaml", "--nats", "nats://x"], "/nowhere.yaml"),
        (["--fleet", "examples/fleets/disagg.yaml"], "--nats"),
        (["--fleet", "examples/fleets/disagg.yaml", "--worker", "x=http://a:1"], "prefill, decode"),
    ],
)
def test_bad_usage_is_exit_2_with_what_to_mend(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from weir.cli import main

    assert main(["router", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error


async def test_a_certificate_that_cannot_be_used_is_exit_2_and_named() -> None:
    pair = ("--tls-cert", "/nowhere/a.pem", "--tls-key", "/nowhere/a.key")
    command = [*WEIR, "--listen", "127.0.0.1:0", "--model", "m", "--worker", "http://x:1", *pair]
    child = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
    _, error = await asyncio.wait_for(child.communicate(), 60.0)
    assert child.returncode == 2
    assert "/nowhere/a.pem" in error.decode()
    assert "Traceback" not in error.decode()


async def test_an_address_in_use_is_exit_1_and_named() -> None:
    async with engine(STREAMED) as one:
        port = one.worker.port
        command = [*WEIR, "--listen", f"127.0.0.1:{port}", "--model", "m", *workers(one)]
        child = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
        _, error = await asyncio.wait_for(child.communicate(), 60.0)
        assert child.returncode == 1
        assert str(port) in error.decode()
        assert "Traceback" not in error.decode()
