"""`weir slo CLASS`: what the requests of a class are to meet, and what they are worth."""

import argparse

from weir.cli import change, options
from weir.domain.errors import WeirError

__all__ = ["configure", "run"]

_DESCRIPTION = """\
Sets latency targets, weight and priority of a request class while the fleet runs. It replaces what
was set live before; what is not given counts as in the Fleet document. Routers and pool planners
are told within seconds. Targets that not even an idle pool meets are refused."""

_EXAMPLES = """\
  weir slo chat --ttft-ms 800 --dry-run
  weir slo batch --weight 0.5 --priority -1
  weir slo chat --reset"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("class_name", metavar="CLASS", help="name of the request class")
    parser.add_argument(
        "--ttft-ms", metavar="MS", type=options.positive, help="time to the first token"
    )
    parser.add_argument(
        "--itl-ms", metavar="MS", type=options.positive, help="mean gap between output tokens"
    )
    parser.add_argument(
        "--weight", metavar="W", type=options.positive, help="worth of one request within SLO"
    )
    parser.add_argument(
        "--priority", metavar="P", type=int, help="higher ones are served first when not all can be"
    )
    parser.add_argument(
        "--reset", action="store_true", help="let the Fleet document count again for this class"
    )
    change.add_options(parser, _DESCRIPTION, _EXAMPLES)


def run(args: argparse.Namespace) -> int:
    from weir.api.v1 import planner_pb2

    given = {
        "ttft_s": None if args.ttft_ms is None else args.ttft_ms / 1e3,
        "itl_s": None if args.itl_ms is None else args.itl_ms / 1e3,
        "weight": args.weight,
        "priority": args.priority,
    }
    if any(value is not None for value in given.values()) is args.reset:
        raise WeirError("give --ttft-ms, --itl-ms, --weight or --priority, or else --reset")
    try:
        targets = planner_pb2.ClassTargets(**given)
    except ValueError as error:  # a priority beyond 32 bits
        raise WeirError(f"these targets cannot be: {error}") from None
    request = planner_pb2.SetSloRequest(
        class_name=args.class_name, targets=targets, dry_run=args.dry_run
    )
    return change.ask(args, "SetSlo", request)
