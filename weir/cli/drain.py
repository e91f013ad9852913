"""`weir drain POOL`: a pool goes down to nothing."""

import argparse

from weir.cli import change

__all__ = ["configure", "run"]

_DESCRIPTION = """\
Takes a pool down to nothing, its minimum and floor notwithstanding. Its replicas end their requests
first, and other pools take over what they can. If nothing else serves a stage of its model, the
answer says so: look at it with --dry-run."""

_EXAMPLES = """\
  weir drain decode-a --dry-run
  weir drain decode-a --why "node rotation"
  weir drain decode-a --undo"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pool", metavar="POOL", help="name of the pool")
    parser.add_argument("--undo", action="store_true", help="let it be sized again")
    parser.add_argument("--why", metavar="TEXT", default="", help="shown wherever the pool is")
    change.add_options(parser, _DESCRIPTION, _EXAMPLES)


def run(args: argparse.Namespace) -> int:
    from weir.api.v1 import planner_pb2

    request = planner_pb2.DrainRequest(
        pool_id=args.pool, undo=args.undo, why=args.why, dry_run=args.dry_run
    )
    return change.ask(args, "Drain", request)
