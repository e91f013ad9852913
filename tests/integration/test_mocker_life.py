"""A mock engine from start to end: start-up, pace, clients that leave, drain, telemetry."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.mocker_process import MockerProcess, mocker
from tests.integration.nats_process import Server
from tests.integration.test_mocker_pair import PREFILL_LEG
from weir.api.v1 import telemetry_pb2
from weir.codec import decode_forward_pass
from weir.runtime.bus import Bus
from weir.runtime.names import fpm_subject

CHAT = "/v1/chat/completions"
TEN_MS = {
    "timing": {
        "kind": "table",
        "prefill": [[1, 0.010], [10_000, 0.010]],
        "decode": [[1, 0.010], [2, 0.010]],
    },
}


def chat(tokens: int, *, stream: bool = False, content: str = "hi") -> dict[str, Any]:
    return {
        "model": "m",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": tokens,
        "ignore_eos": True,
        "stream": stream,
    }


@pytest.fixture
def profile(tmp_path: Path) -> str:
    """Every iteration takes 10 ms."""
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(TEN_MS))
    return str(path)


def test_until_its_start_up_time_is_over_an_engine_refuses(profile: str) -> None:
    with mocker("--start-up-s", "4000", "--speed", "4", "--profile", profile) as engine:
        assert engine.ask("GET", "/livez")[0] == 200
        status, answer = engine.ask("GET", "/health")
        assert (status, answer["error"]["message"]) == (503, "the engine is starting up")
        assert engine.ask("POST", CHAT, chat(1))[0] == 503
        assert engine.ask("GET", "/v1/models")[0] == 503


def test_when_its_start_up_time_is_over_an_engine_serves(profile: str) -> None:
    began = time.monotonic()
    with mocker("--start-up-s", "8", "--speed", "4", "--profile", profile) as engine:
        while engine.ask("GET", "/health")[0] != 200:
            time.sleep(0.01)
        assert time.monotonic() - began >= 1.95  # from the start of the process
        assert engine.ask("POST", CHAT, chat(1))[0] == 200
        assert "ready port=" in engine.log


def test_tokens_come_at_the_model_s_pace_without_drift(profile: str) -> None:
    with mocker("--speed", "4", "--profile", profile) as engine:
        engine.ask("POST", CHAT, chat(1))
        # 401 iterations of 10 model ms. A late wake-up must not add to the next: that would make
        # each of these late; a busy machine delays only the ends of some.
        took_s = [_seconds_of(engine, chat(401)) for _ in range(3)]
        assert 1.0 <= min(took_s) < 1.2
        itl_s = engine.metric("vllm:inter_token_latency_seconds_sum") / (3 * 400)
        assert itl_s == pytest.approx(0.010)


def test_a_client_that_leaves_frees_its_place(profile: str) -> None:
    with mocker("--profile", profile) as engine:
        for stream in (True, False):
            connection = _send(engine, chat(10_000, stream=stream))
            engine.until("vllm:num_requests_running", 1)
            connection.close()
            engine.until("vllm:num_requests_running", 0)
        assert engine.metric("vllm:kv_cache_usage_perc") == 0
        assert engine.metric('vllm:request_success_total{finished_reason="abort"}') == 2


def test_a_client_that_does_not_read_is_given_up(profile: str) -> None:
    with mocker("--profile", profile, "--speed", "100") as engine:
        connection = _send(engine, chat(200_000, stream=True))
        engine.until("vllm:num_requests_running", 1)
        engine.until('vllm:request_success_total{finished_reason="abort"}', 1)
        assert engine.metric("vllm:num_requests_running") == 0
        assert "does not read" in engine.log
        connection.close()


def test_a_drain_finishes_streams_takes_nothing_new_and_ends_well(profile: str) -> None:
    with mocker("--profile", profile) as engine:
        connection, response = engine.open("POST", CHAT, chat(400, stream=True))
        engine.process.send_signal(signal.SIGTERM)
        while engine.ask("GET", "/health")[0] == 200:
            time.sleep(0.005)
        status, answer = engine.ask("POST", CHAT, chat(1))
        assert (status, "draining" in answer["error"]["message"]) == (503, True)
        text = response.read().decode()
        connection.close()
        assert text.count('"content":" tok"') == 400
        assert text.endswith("data: [DONE]\n\n")
        assert engine.process.wait(10) == 0


def test_a_drain_waits_for_kv_to_be_fetched(profile: str) -> None:
    with mocker("--profile", profile) as prefill, mocker("--profile", profile) as decode:
        leg = {"max_tokens": 1, "kv_transfer_params": PREFILL_LEG}
        params = prefill.ask("POST", CHAT, chat(5) | leg)[1]["kv_transfer_params"]
        prefill.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert prefill.process.poll() is None
        assert decode.ask("POST", CHAT, chat(5) | {"kv_transfer_params": params})[0] == 200
        assert prefill.process.wait(10) == 0


def test_a_drain_does_not_wait_for_ever(profile: str) -> None:
    with mocker("--profile", profile, "--drain-timeout-s", "0.3") as engine:
        connection, response = engine.open("POST", CHAT, chat(10_000, stream=True))
        engine.process.send_signal(signal.SIGTERM)
        text = response.read().decode()
        connection.close()
        assert '"error":{"message":"the engine was stopped' in text
        assert engine.process.wait(10) == 0
        assert "drain timed out requests=1" in engine.log


def test_under_load_every_request_is_served_and_kv_stays_in_bounds(tmp_path: Path) -> None:
    small = TEN_MS | {"kv_tokens": 640, "max_sequences": 8}
    path = tmp_path / "small.json"
    path.write_text(json.dumps(small))
    with mocker("--profile", str(path), "--speed", "20") as engine:
        connections = [_send(engine, chat(40 + n, content="x" * 60 * n)) for n in range(16)]
        for connection in connections:
            assert b'"finish_reason":"length"' in _receive(connection)
        assert engine.metric("vllm:num_preemptions_total") > 0
        assert engine.metric("vllm:kv_cache_usage_perc") == 0
        assert engine.metric("vllm:generation_tokens_total") == sum(range(40, 56))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--profile", "nowhere.json"], "--profile nowhere.json: No such file"),
        (["--listen", "8000"], "--listen must be HOST:PORT"),
        (["--nats", "nats://127.0.0.1:1"], "--nats needs --fleet-name"),
        (["--context-limit-tokens", "999999999"], "does not fit"),
        (["--speed", "0"], "--speed: '0' is not a number > 0"),
        (["--start-up-s", "nan"], "--start-up-s: must be 0 or more"),
    ],
)
def test_bad_usage_ends_with_2_and_says_what_to_mend(arguments: list[str], says: str) -> None:
    ended = _weir_mocker(*arguments)
    assert ended.returncode == 2
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_bad_profile_names_the_file_and_the_field(tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    for text, says in (
        ("{", "bad.json: unexpected end"),
        ("[]", "must hold a JSON object"),
        ('{"kv_tokens": 0}', "kv_tokens must be >= 1"),
        ('{"speeed": 2}', "speeed"),
    ):
        path.write_text(text)
        ended = _weir_mocker("--profile", str(path))
        assert ended.returncode == 2
        assert says in ended.stderr


def test_an_address_in_use_ends_with_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = _weir_mocker("--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert ended.returncode == 1
    assert "in use" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_forward_passes_are_told_once_a_second(nats: Server, profile: str) -> None:
    bus = await Bus.connect(nats.url, name="test")
    heard: list[bytes] = []
    arguments = ("--nats", nats.url, "--fleet-name", "f", "--pool", "p", "--worker-id", "w")
    try:
        await bus.subscribe(fpm_subject("f", "p", "w"), heard.append)
        with mocker(*arguments, "--speed", "4", "--profile", profile) as engine:
            connection = _send(engine, chat(10_000, content="x" * 400))
            async with asyncio.timeout(60):
                while len(heard) < 4:
                    await asyncio.sleep(0.05)
            connection.close()
    finally:
        await bus.close()
    samples = [
        decode_forward_pass(telemetry_pb2.ForwardPassSample.FromString(payload))
        for payload in heard[:4]
    ]
    sample = samples[2]
    assert (sample.pool_id, sample.worker_id, sample.sequence) == ("p", "w", 3)
    # Four model seconds each, and more where a busy machine lets one be late.
    windows_s = [each.window_s for each in samples[1:]]
    assert 4.0 * 0.99 <= min(windows_s) < 2 * 4.0
    assert sum(each.busy_s for each in samples[1:]) == pytest.approx(sum(windows_s), rel=0.25)
    assert sample.iterations == pytest.approx(sample.busy_s / 0.010)
    assert sample.decode_tokens == sample.iterations
    assert (sample.running, sample.waiting, sample.waiting_tokens) == (1, 0, 0)
    assert 104 < sample.kv_used_tokens < sample.kv_total_tokens


def _seconds_of(engine: MockerProcess, body: dict[str, Any]) -> float:
    began = time.monotonic()
    assert engine.ask("POST", CHAT, body)[0] == 200
    return time.monotonic() - began


def _send(engine: MockerProcess, body: dict[str, Any]) -> socket.socket:
    """A request whose answer is not waited for."""
    data = json.dumps(body).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
    connection = socket.create_connection(("127.0.0.1", engine.port), timeout=20)
    connection.sendall(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
    return connection


def _receive(connection: socket.socket) -> bytes:
    received = b""
    while data := connection.recv(65536):
        received += data
    connection.close()
    return received


def _weir_mocker(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "weir", "mocker", "--model", "m"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60)
