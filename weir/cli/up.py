"""`weir up`: a whole fleet on this machine, and a replay of a trace through its endpoint.

Standard output gets the endpoint and the summary, or with `--json` the summary as one object
and nothing else; everything else goes to stderr. Exit codes: 0 done or stopped, 1 the fleet
could not serve, 2 bad usage or input, found before anything is started.
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from weir.domain.errors import TraceError, WeirError
from weir.fleet import LoadedFleet, check, load
from weir.local.examples import demo_fleet
from weir.local.ports import HOST, Ports, can_listen
from weir.local.report import summary_text
from weir.local.session import Options
from weir.local.session import run as run_session
from weir.runtime import lifecycle, logs
from weir.runtime.lifecycle import Stop
from weir.workload import TraceRequest, superpose, workload_of

__all__ = ["configure", "run"]

_PORT = 8000
_MAX_SPEED = 1000.0


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fleet", type=Path, metavar="FILE", help="Fleet document; the demo fleet by default"
    )
    parser.add_argument(
        "--set",
        dest="sets",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change the document first, such as spec.budget.gpus=6; may be repeated",
    )
    parser.add_argument(
        "--trace",
        metavar="FILE",
        help="replay this CSV of timestamp_s, isl, osl instead of the fleet's own trace, or "
        "generated requests such as poisson:rate=6,isl=700,osl=180,for=600",
    )
    parser.add_argument("--no-replay", action="store_true", help="only serve")
    parser.add_argument(
        "--for",
        dest="for_s",
        type=_above_zero,
        default=math.inf,
        metavar="SECONDS",
        help="submit for so long, then end; by default the whole trace, then serve until stopped",
    )
    parser.add_argument(
        "--speed",
        type=_speed,
        default=1.0,
        metavar="X",
        help="run replay, engines and planners X times faster than real time",
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=_PORT,
        help=f"port of the endpoint on {HOST}, 0 for any (default {_PORT})",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of prompts and of the trace's rate scale"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")


def run(args: argparse.Namespace) -> int:
    loaded = load(args.fleet or demo_fleet(), args.sets)
    for warning in check(loaded):
        print(f"weir up: {loaded.path}: warning: {warning}", file=sys.stderr)
    requests = None if args.no_replay else _requests(loaded, args.trace, args.seed)
    options = Options(
        loaded=loaded,
        requests=requests,
        for_s=args.for_s,
        speed=args.speed,
        port=_free_port(args.port),
        seed=args.seed,
        say=_announcer(sys.stderr.write if args.json else sys.stdout.write),
    )
    logs.setup("up", "ERROR")

    async def serve(stop: Stop) -> int:
        summary = await run_session(options, stop)
        if summary is None:
            return 1
        print(summary.model_dump_json() if args.json else summary_text(summary))
        return 0

    return lifecycle.run(serve)


def _requests(loaded: LoadedFleet, trace: str | None, seed: int) -> Sequence[TraceRequest] | None:
    """What to replay; None if neither the user nor the fleet names a trace."""
    path = trace or loaded.workload.trace
    if path is None:
        print("weir up: the fleet names no trace (--trace FILE): serving only", file=sys.stderr)
        return None
    columns = superpose(workload_of(path, seed=seed), loaded.workload.rate_scale, seed)
    if not len(columns):
        raise TraceError(str(path), 1, "no request is left at the workload's rate_scale")
    return columns.requests()


def _free_port(port: int) -> int:
    """Raises `WeirError` if somebody listens on `port`; chooses one for 0."""
    if port == 0:
        return Ports().take()
    if error := can_listen(port):
        raise WeirError(f"cannot listen on {HOST}:{port}: {error.strerror}; give another --port")
    return port


def _announcer(write: Callable[[str], object]) -> Callable[[str], None]:
    def announce(text: str) -> None:
        write(f"weir up: {text}\n")
        sys.stdout.flush()

    return announce


def _above_zero(text: str) -> float:
    value = _number(text)
    if not value > 0.0:
        raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
    return value


def _speed(text: str) -> float:
    value = _above_zero(text)
    if value > _MAX_SPEED:
        raise argparse.ArgumentTypeError(f"must be at most {_MAX_SPEED:g}, not {text}")
    return value


def _port(text: str) -> int:
    value = _number(text)
    if value != int(value) or not 0 <= value <= 65_535:
        raise argparse.ArgumentTypeError(f"must be a port from 0 to 65535, not {text}")
    return int(value)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a finite number, not {text}")
    return value
