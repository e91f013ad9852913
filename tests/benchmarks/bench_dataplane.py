"""CPU of the whole router per request and per streamed chunk, next to nginx and sglang_router.

    python -m tests.benchmarks.bench_dataplane [--json] [--rounds N] [--source]

All stand at once in front of the same dummy engines, on one core; clients and engines have
another one. Each load goes through one peer after the other, in turned order every round, so that
what else the machine does meets all alike. A ratio is taken within a round; printed are the median
of the rounds, the least and the most. CPU is all that a peer's processes ran, user and kernel.
The peers are fetched into `.peers` if they are not there, as `make peers` does; what cannot be had
has no figures, and is told on stderr. `weir` is this tree as it is; `compiled` the same, compiled
here as `make wheel` does, which takes a minute or two before the first round: it is left out with
`--source`, and where there is no compiler.

`request`, `request_32k`: whole answers to bodies of 0.8 and 32 KB, to 16 clients that send the
next request when they have an answer: all that a peer can do. `paced`: `request` at 2,000 a second,
so that all have the same to do, and most often one thing at a time. `two_legs`: `request` through a
prefill and a decode pool. `chunk`: 200 streams with 20 to 80 ms between their chunks. `added`:
milliseconds that `request` takes longer than the engine asked directly, one at a time, p50.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import uvloop

from tests import compiled
from tests.benchmarks import dataplane_load as load
from tests.benchmarks import dataplane_peers as peers
from tests.benchmarks.dataplane_peers import Peer

__all__ = ["AIMS", "Aim", "Spread", "main", "ratios", "spread"]

_ENGINES = 4
_CLIENTS = 16
_WARM_UP = 800
_REQUESTS = 4000
_RATE_RPS = 2000.0
_STREAMS = 200
_SETTLE_S, _WINDOW_S = 0.3, 2.0
_PROBES, _PROBE_GAP_S = 200, 0.003

Samples = dict[str, dict[str, list[float]]]
"""By measure and peer, one figure per round."""
Measure = Callable[[Peer], Awaitable[float]]
Spread = dict[str, float]
"""`median`, `min` and `max` of the rounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """A router's `measure` is to be at most `most` times that of `peer`, or its own `other` one."""

    measure: str
    peer: str | None = None
    most: float
    other: str = ""

    @property
    def name(self) -> str:
        return f"{self.measure} / {self.peer or self.other}"


AIMS = (
    Aim(measure="request", peer="sglang_router", most=1.0),
    Aim(measure="paced", peer="sglang_router", most=1.0),
    Aim(measure="request_32k", peer="sglang_router", most=1.0),
    Aim(measure="chunk", peer="nginx", most=1.15),
    Aim(measure="two_legs", other="request", most=1.6),
)
_ADDED_MOST_MS = 0.5


def spread(figures: list[float]) -> Spread | None:
    """None of nothing."""
    if not figures:
        return None
    return {"median": statistics.median(figures), "min": min(figures), "max": max(figures)}


def ratios(samples: Samples, ours: str = "weir") -> dict[str, Spread | None]:
    """Of the router `ours` by aim, round by round; None if one of its two was not measured."""

    def of(aim: Aim) -> Spread | None:
        mine = samples.get(aim.measure, {}).get(ours, [])
        theirs = samples.get(aim.other or aim.measure, {}).get(aim.peer or ours, [])
        return spread([a / b for a, b in zip(mine, theirs, strict=False)])

    return {aim.name: of(aim) for aim in AIMS}


# --- measuring ---------------------------------------------------------------------------


def _measure(rounds: int, *, compiling: bool) -> tuple[Samples, dict[str, float], list[str]]:
    """Figures of all rounds, resident memory at the end (MiB), and which peers are missing."""
    theirs, *rest = sorted(os.sched_getaffinity(0))
    mine = rest[0] if rest else theirs
    if not rest:
        print("ONE CPU ONLY: peers, clients and engines share it", file=sys.stderr)
    peers.fetch()
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory()))
        engines = load.Engines(_ENGINES, mine)
        closing.callback(engines.close)
        trees = {"weir": None, "compiled": _compiled(folder) if compiling else None}
        ours = {name: tree for name, tree in trees.items() if tree or name == "weir"}
        two_legs = {
            name: peers.weir_two_legs(engines.ports, theirs, folder, name, tree)
            for name, tree in ours.items()
        }
        found = {
            name: peers.weir(engines.ports, theirs, folder, name, tree)
            for name, tree in ours.items()
        }
        missing = [name for name in trees if name not in ours]
        for name, start in {"nginx": peers.nginx, "sglang_router": peers.sglang_router}.items():
            peer = start(engines.ports, theirs, folder)
            if peer is not None:
                found[name] = peer
            else:
                missing.append(name)
                print(f"MISSING, NOT MEASURED: {name}", file=sys.stderr)
        running = [*two_legs.values(), *found.values()]
        for peer in running:
            closing.callback(peer.close)
        for peer in running:
            peer.until_listening()
        os.sched_setaffinity(0, {mine})
        samples = uvloop.run(_rounds(rounds, found, two_legs, engines.ports[0]))
        return samples, {name: peer.rss_bytes() / 2**20 for name, peer in found.items()}, missing


def _compiled(folder: Path) -> Path | None:
    """Where this tree has been compiled; None, told on stderr, if it cannot be here."""
    lack = compiled.missing()
    if lack is not None:
        print(f"MISSING, NOT MEASURED: the compiled router, for it needs {lack}", file=sys.stderr)
        return None
    print("compiling the router, as `make wheel` does", file=sys.stderr)
    tree = folder / "compiled"
    compiled.build(tree)
    return tree


async def _rounds(
    rounds: int, found: dict[str, Peer], two_legs: dict[str, Peer], engine_port: int
) -> Samples:
    samples: Samples = {}
    for peer in (*two_legs.values(), *found.values()):
        for messages in (load.SMALL, load.LARGE):
            await load.requests(peer.port, messages, _WARM_UP, _CLIENTS)
    for number in range(rounds):
        turn = [*found.items()]
        if number % 2:
            turn.reverse()

        async def measure(name: str, cost: Measure, among: list[tuple[str, Peer]] = turn) -> None:
            for peer_name, peer in among:
                samples.setdefault(name, {}).setdefault(peer_name, []).append(await cost(peer))

        await measure("request", _request_us(load.SMALL))
        await measure("two_legs", _request_us(load.SMALL), [*two_legs.items()])
        await measure("paced", _paced_us)
        await measure("request_32k", _request_us(load.LARGE))
        await measure("chunk", _chunk_us)
        await measure("added", _added_ms(await _latency_ms(engine_port)))
    return samples


def _request_us(messages: list[bytes]) -> Measure:
    async def cost(peer: Peer) -> float:
        before_s = peer.cpu_s()
        await load.requests(peer.port, messages, _REQUESTS, _CLIENTS)
        return 1e6 * (peer.cpu_s() - before_s) / _REQUESTS

    return cost


async def _paced_us(peer: Peer) -> float:
    before_s = peer.cpu_s()
    await load.paced_requests(peer.port, load.SMALL, _REQUESTS, _RATE_RPS)
    return 1e6 * (peer.cpu_s() - before_s) / _REQUESTS


async def _chunk_us(peer: Peer) -> float:
    spent_s, chunks = await load.streams(
        peer.port, _STREAMS, settle_s=_SETTLE_S, window_s=_WINDOW_S, cpu_s=peer.cpu_s
    )
    return 1e6 * spent_s / chunks


def _added_ms(direct_ms: float) -> Measure:
    async def cost(peer: Peer) -> float:
        return await _latency_ms(peer.port) - direct_ms

    return cost


async def _latency_ms(port: int) -> float:
    return 1e3 * await load.latency_s(port, load.SMALL, _PROBES, _PROBE_GAP_S)


# --- telling -----------------------------------------------------------------------------


def _told(
    summary: dict[str, dict[str, dict[str, Spread | None]]],
    found: dict[str, dict[str, Spread | None]],
) -> str:
    lines = []
    for unit, measures in summary.items():
        for name, by_peer in measures.items():
            costs = "  ".join(f"{peer} {_span(each)}" for peer, each in by_peer.items())
            lines.append(f"{name + ', ' + unit:22} {costs}")
    for router, each in found.items():
        for aim in AIMS:
            lines.append(f"{router:8} {aim.name:30} {_span(each[aim.name])}, aim {aim.most:g}")
    return "\n".join(lines)


def _span(each: Spread | None) -> str:
    if each is None:
        return "not measured"
    return f"{each['median']:.2f} ({each['min']:.2f} to {each['max']:.2f})"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--source", action="store_true", help="do not compile")
    options = parser.parse_args(argv)
    began = time.monotonic()
    samples, rss_mib, missing = _measure(options.rounds, compiling=not options.source)
    figures = {
        unit: {name: {peer: spread(each) for peer, each in samples[name].items()} for name in names}
        for unit, names in {
            "cpu_us": ("request", "paced", "two_legs", "request_32k", "chunk"),
            "p50_ms": ("added",),
        }.items()
    }
    found = {name: ratios(samples, name) for name in ("weir", "compiled") if name in rss_mib}
    if not options.json:
        print(_told(figures, found))
        return 0
    aims = {aim.name: aim.most for aim in AIMS} | {"added": _ADDED_MOST_MS}
    summary = {**figures, "ratios": found, "aims": aims, "missing": missing, "rss_mib": rss_mib}
    print(json.dumps(summary | {"rounds": options.rounds, "wall_s": time.monotonic() - began}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
