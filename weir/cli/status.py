"""`weir status`: how a running fleet stands, as its GlobalPlanner sees it."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from weir.cli import options, planner_client
from weir.domain.errors import UnavailableError

if TYPE_CHECKING:
    from weir.api.v1 import planner_pb2

__all__ = ["configure", "run"]

_DESCRIPTION = """\
Shows how a running fleet stands: who leads, what of the GPU budget is charged, what each pool has
and why, the routing plan, the last changes, and what operators have set."""

_EXAMPLES = """\
examples:
  weir status
  weir status --planner 10.0.0.5:7000,10.0.0.6:7000 --ca ca.pem --token-file token --watch
  weir status --json | jq .health.problem

Exit codes: 0 it has answered, 1 none does, 2 it refuses."""

_WATCH_S = 2.0
_CLEAR = "\x1b[H\x1b[2J"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    planner_client.add_options(parser)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object {status, health}, on one line"
    )
    parser.add_argument(
        "--watch",
        metavar="SECONDS",
        nargs="?",
        type=options.positive,
        const=_WATCH_S,
        help=f"again and again, every so many seconds (default {_WATCH_S:g}), until Ctrl-C",
    )


def run(args: argparse.Namespace) -> int:
    render = _as_json if args.json else _as_text
    if args.watch is None:
        asyncio.run(_once(args, render))
        return 0
    with suppress(KeyboardInterrupt):
        asyncio.run(_watch(args, render))
    return 0


_Render = Callable[["planner_pb2.StatusResponse", "planner_pb2.HealthResponse"], str]


async def _once(args: argparse.Namespace, render: _Render) -> None:
    async with planner_client.connected(args) as planner:
        print(render(*await _look(planner)))


async def _watch(args: argparse.Namespace, render: _Render) -> None:
    clear = _CLEAR if sys.stdout.isatty() and not args.json else ""
    async with planner_client.connected(args) as planner:
        while True:
            try:
                text = render(*await _look(planner))
            except UnavailableError as error:
                print(f"weir status: {error}", file=sys.stderr)
            else:
                print(f"{clear}{text}", end="\n" if args.json or clear else "\n\n", flush=True)
            await asyncio.sleep(args.watch)


async def _look(
    planner: planner_client.PlannerConnection,
) -> "tuple[planner_pb2.StatusResponse, planner_pb2.HealthResponse]":
    from weir.api.v1 import planner_pb2

    def leads(answer: "planner_pb2.StatusResponse | planner_pb2.HealthResponse") -> bool:
        return answer.leading

    status = await planner.call("Status", planner_pb2.StatusRequest(), prefer=leads)
    health = await planner.call("Health", planner_pb2.HealthRequest(), prefer=leads)
    return status, health


def _as_json(status: "planner_pb2.StatusResponse", health: "planner_pb2.HealthResponse") -> str:
    from weir.cli.plain import plain

    return json.dumps({"status": plain(status), "health": plain(health)})


def _as_text(status: "planner_pb2.StatusResponse", health: "planner_pb2.HealthResponse") -> str:
    from weir.cli.status_text import status_lines

    lines: Iterator[str] = status_lines(status, health)
    return "\n".join(lines)
