"""The engine model in virtual time against a mock engine in real time: TTFT and ITL.

    python -m tests.benchmarks.bench_engine_realtime [--json]

The same 500 requests go to a `weir mocker` over HTTP, streamed, as they arrive, and through an
`EngineRun`. The engine is the aggregated one of `examples/fleets/agg.yaml`, a third of its time
on prompts and with about half of its places taken. Exits 1 if a median differs by more than a
tenth or a p99 by more than a quarter. Takes a minute, nearly all of it spent waiting.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from random import Random

from tests.integration.mocker_process import mocker
from weir.domain.profile import profile_from_mapping
from weir.engine.request import Request
from weir.engine.run import EngineRun

__all__ = ["main", "measure"]

_REQUESTS, _RATE_RPS = 500, 10.0
_LEAD_S = 0.5
_PATIENCE_S = 60.0
_BOUNDS = {"p50": 0.10, "p99": 0.25}
_QUANTILES = {"p50": 0.50, "p99": 0.99}
_PROFILE = {
    "timing": {
        "kind": "table",
        "prefill": [[0, 1.0e-6], [512, 0.0568889]],
        "decode": [[0, 0.010], [32, 0.040]],
    },
    "max_sequences": 32,
    "max_batched_tokens": 512,
}
_HEAD = (
    b"POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
)
_TOKEN = b'"text":" tok"'

Arrivals = list[tuple[float, int, int]]


@dataclass
class Latencies:
    ttft_s: list[float] = field(default_factory=list)
    itl_s: list[float] = field(default_factory=list)

    def quantiles_ms(self) -> dict[str, float]:
        return {
            f"{name}_{q}": 1e3 * sorted(values)[int(share * (len(values) - 1))]
            for name, values in (("ttft", self.ttft_s), ("itl", self.itl_s))
            for q, share in _QUANTILES.items()
        }


def measure() -> dict[str, float]:
    """Milliseconds of both, and real / virtual."""
    arrivals = _poisson()
    real = asyncio.run(_real(arrivals)).quantiles_ms()
    virtual = _virtual(arrivals).quantiles_ms()
    return {
        **{f"real_{name}_ms": round(value, 2) for name, value in real.items()},
        **{f"virtual_{name}_ms": round(value, 2) for name, value in virtual.items()},
        **{f"{name}_ratio": round(real[name] / virtual[name], 4) for name in real},
    }


def _poisson() -> Arrivals:
    """Time, ISL and OSL of each request."""
    random, now_s, arrivals = Random(3), 0.0, []
    for _ in range(_REQUESTS):
        now_s += random.expovariate(_RATE_RPS)
        arrivals.append((now_s, random.randint(10, 600), random.randint(2, 80)))
    return arrivals


def _virtual(arrivals: Arrivals) -> Latencies:
    ends_s: list[float] = []
    run = EngineRun(profile_from_mapping(_PROFILE), lambda start_s, end_s, *_: ends_s.append(end_s))
    found = Latencies()
    for number, (now_s, isl, osl) in enumerate([*arrivals, (inf, 0, 0)]):
        while run.due_s < now_s:
            for sequence in run.advance().finished:
                first_s = sequence.first_token_s
                assert first_s is not None
                tokens_s = ends_s[bisect_left(ends_s, first_s) :]
                assert len(tokens_s) == sequence.request.output_tokens
                found.ttft_s.append(first_s - sequence.submitted_s)
                found.itl_s += [after - before for before, after in pairwise(tokens_s)]
        if now_s < inf:
            run.submit(Request(number, isl, osl), now_s)
    return found


async def _real(arrivals: Arrivals) -> Latencies:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as profile:
        json.dump(_PROFILE, profile)
        profile.flush()
        with mocker("--profile", profile.name) as engine:
            start_s = asyncio.get_running_loop().time() + _LEAD_S
            found = Latencies()
            clients = [
                _client(engine.port, number, start_s + at_s, isl, osl, found)
                for number, (at_s, isl, osl) in enumerate(arrivals)
            ]
            async with asyncio.timeout(arrivals[-1][0] + _PATIENCE_S):
                await asyncio.gather(*clients)
    return found


async def _client(
    port: int, number: int, at_s: float, isl: int, osl: int, found: Latencies
) -> None:
    """One request and when its tokens came."""
    prompt = f"{number:08}".ljust(4 * isl)  # four bytes are a token; no two begin alike
    asked = {"model": "m", "prompt": prompt, "max_tokens": osl, "ignore_eos": True, "stream": True}
    body = json.dumps(asked).encode()
    loop = asyncio.get_running_loop()
    await asyncio.sleep(at_s - 0.01 - loop.time())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.sleep(at_s - loop.time())
    sent_s = loop.time()
    writer.write(_HEAD % len(body) + body)
    tokens_s: list[float] = []
    while data := await reader.read(65536):
        tokens_s += [loop.time()] * data.count(_TOKEN)
    writer.close()
    assert len(tokens_s) == osl, f"{len(tokens_s)} of {osl} tokens came"
    found.ttft_s.append(tokens_s[0] - sent_s)
    found.itl_s += [after - before for before, after in pairwise(tokens_s)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    figures = measure()
    if parser.parse_args().json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:24} {value:12.4g}")
    outside = [
        name
        for name, value in figures.items()
        if name.endswith("_ratio") and abs(value - 1.0) > _BOUNDS[name.split("_")[1]]
    ]
    if outside:
        print(f"out of bounds: {', '.join(outside)}", file=sys.stderr)
    return 1 if outside else 0


if __name__ == "__main__":
    sys.exit(main())
