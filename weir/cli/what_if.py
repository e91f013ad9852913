"""`weir what-if`: what a running fleet would serve with other GPUs or another load."""

import argparse
import json
from typing import TYPE_CHECKING

from weir.cli import options, planner_client

if TYPE_CHECKING:
    from weir.api.v1 import planner_pb2

__all__ = ["configure", "run"]

_DESCRIPTION = """\
Asks the GlobalPlanner what would be served within SLO with more or fewer GPUs of a class, or with
another load than is forecast, and what one more GPU of each class would add. Changes nothing."""

_EXAMPLES = """\
examples:
  weir what-if
  weir what-if --more H200=8 --load 1.5
  weir what-if --more L40S=-4 --json | jq .served_rps

Exit codes: 0 it has answered, 1 none does or it took too long, 2 it refuses."""

_TIMEOUT_S = 15.0
_MOST_POOLS = 12


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--more",
        metavar="CLASS=GPUS",
        type=_more,
        action="append",
        default=[],
        help="so many more GPUs of a class, in the budget and in its nodes; negative: fewer",
    )
    parser.add_argument(
        "--load",
        metavar="FACTOR",
        type=options.positive,
        default=1.0,
        help="so many times the load that is forecast (default %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, on one line")
    planner_client.add_options(parser)
    parser.set_defaults(timeout=_TIMEOUT_S)


def run(args: argparse.Namespace) -> int:
    from weir.api.v1 import planner_pb2
    from weir.cli.plain import plain

    more: dict[str, int] = {}
    for name, gpus in args.more:
        more[name] = more.get(name, 0) + gpus
    request = planner_pb2.WhatIfRequest(more_gpus_by_class=more, load_factor=args.load)
    answer: planner_pb2.WhatIfResponse = planner_client.ask(args, "WhatIf", request)
    print(json.dumps(plain(answer)) if args.json else _as_text(answer))
    return 0


def _as_text(answer: "planner_pb2.WhatIfResponse") -> str:
    replicas = sorted(answer.replicas_by_pool.items())
    told = ", ".join(f"{pool} {count}" for pool, count in replicas[:_MOST_POOLS])
    left = len(replicas) - _MOST_POOLS
    more = f" and {left} more pools (--json has all)" if left > 0 else ""
    return "\n".join([*answer.lines, f"with replicas: {told}{more}"])


def _more(text: str) -> tuple[str, int]:
    """CLASS=GPUS, an argparse type."""
    name, equals, gpus = text.rpartition("=")
    try:
        count = int(gpus)
    except ValueError:
        count = 0
    if not equals or not name or not count:
        raise argparse.ArgumentTypeError(f"must be CLASS=GPUS with whole GPUs, not {text!r}")
    return name, count
