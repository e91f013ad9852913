"""CPU time of the engine model and of a mock engine.

    python -m tests.benchmarks.bench_mocker [--json]

`model_*`: the engine model alone under a steady load of ISL 1,200 / OSL 240. `mocker_*`: one
`weir mocker` at speed 4 with an ITL of 40 ms; the costs of an iteration and of a chunk come from
runs with few and with many streams.
"""

import argparse
import json
import selectors
import socket
import tempfile
import time
from pathlib import Path

from tests.integration.mocker_process import MockerProcess, mocker
from weir.domain.profile import EngineProfile
from weir.engine.model import EngineModel
from weir.engine.request import Request

__all__ = ["main", "measure"]

_ISL, _OSL = 1200, 240
_WINDOW_S = 3.0
_FEW, _MANY = 2, 34
_PROFILE = {
    "timing": {
        "kind": "table",
        "prefill": [[1, 0.001], [1000, 0.002]],
        "decode": [[1, 0.040], [256, 0.040]],
    }
}


def measure() -> dict[str, float]:
    """All figures; about ten seconds."""
    few, many = _streaming_cpu_s(_FEW), _streaming_cpu_s(_MANY)
    chunk_s = (many["per_iteration_s"] - few["per_iteration_s"]) / (_MANY - _FEW)
    return {
        **_model(requests=4000, hashed=False, rate_rps=8.0),
        **_model(requests=4000, hashed=True, rate_rps=8.0),
        "mocker_start_cpu_s": few["start_s"],
        "mocker_idle_cpu_share": few["idle_share"],
        "mocker_iteration_us": 1e6 * (few["per_iteration_s"] - _FEW * chunk_s),
        "mocker_chunk_us": 1e6 * chunk_s,
    }


def _model(*, requests: int, hashed: bool, rate_rps: float) -> dict[str, float]:
    model, blocks = EngineModel(EngineProfile()), _ISL // 16
    submitted = finished = iterations = 0
    now_s, began = 0.0, time.process_time()
    while finished < requests:
        while submitted < requests and submitted / rate_rps <= now_s:
            first = submitted * blocks
            hashes = tuple(range(first, first + blocks)) if hashed else ()
            request = Request(
                id=str(submitted), prompt_tokens=_ISL, output_tokens=_OSL, block_hashes=hashes
            )
            model.submit(request, submitted / rate_rps)
            submitted += 1
        iteration = model.begin(now_s)
        if iteration is None:
            now_s = submitted / rate_rps
            continue
        finished += len(model.finish(iteration).finished)
        now_s, iterations = iteration.end_s, iterations + 1
    cpu_s = time.process_time() - began
    name = "model_hashed" if hashed else "model"
    return {
        f"{name}_iteration_us": 1e6 * cpu_s / iterations,
        f"{name}_requests_per_cpu_s": requests / cpu_s,
    }


def _streaming_cpu_s(streams: int) -> dict[str, float]:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as profile:
        json.dump(_PROFILE, profile)
        profile.flush()
        with mocker("--profile", profile.name, "--speed", "4") as engine:
            start_s = _cpu_s(engine)
            idle_from_s = time.monotonic()
            time.sleep(0.5)
            idle_s = _cpu_s(engine) - start_s
            idle_share = idle_s / (time.monotonic() - idle_from_s)
            sockets = [_stream(engine.port) for _ in range(streams)]
            _read(sockets, 0.5)
            before_s = _cpu_s(engine)
            _read(sockets, _WINDOW_S)
            spent_s = _cpu_s(engine) - before_s
            for each in sockets:
                each.close()
    iterations = _WINDOW_S / 0.010
    return {
        "start_s": start_s,
        "idle_share": idle_share,
        "per_iteration_s": spent_s / iterations,
    }


def _stream(port: int) -> socket.socket:
    body = b'{"model":"m","stream":true,"max_tokens":100000,"ignore_eos":true,"messages":'
    body += b'[{"role":"user","content":"hello"}]}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    connection.sendall(head % len(body) + body)
    return connection


def _read(sockets: list[socket.socket], seconds: float) -> None:
    """Take what comes, as a client that keeps up would."""
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for each in sockets:
            selector.register(each, selectors.EVENT_READ)
        while (left_s := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left_s):
                assert key.fileobj in sockets
                key.fileobj.recv(65536)  # type: ignore[union-attr]


def _cpu_s(engine: MockerProcess) -> float:
    """CPU seconds so far, by the scheduler's own count where the kernel tells it."""
    pid = engine.process.pid
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except (OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    figures = measure()
    if parser.parse_args().json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:32} {value:12.4g}")


if __name__ == "__main__":
    main()
