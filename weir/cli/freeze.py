"""`weir freeze`: a pool keeps what it has."""

import argparse

from weir.cli import change
from weir.domain.errors import WeirError

__all__ = ["configure", "run"]

_DESCRIPTION = """\
Freezes a pool, or with --all every pool there is: it keeps its replicas, whatever is needed or
exceeded, until it is thawed. A pool that is drained goes on to drain."""

_EXAMPLES = """\
  weir freeze decode-a --why "incident 17"
  weir freeze --all --why "cluster upgrade"
  weir freeze --all --thaw"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pool", metavar="POOL", nargs="?", help="name of the pool")
    parser.add_argument("--all", action="store_true", help="all pools")
    parser.add_argument("--thaw", action="store_true", help="let it be sized again")
    parser.add_argument("--why", metavar="TEXT", default="", help="shown wherever the pool is")
    change.add_options(parser, _DESCRIPTION, _EXAMPLES)


def run(args: argparse.Namespace) -> int:
    from weir.api.v1 import planner_pb2

    if bool(args.pool) is args.all:
        raise WeirError("give the name of a pool, or else --all")
    request = planner_pb2.FreezeRequest(
        pool_id=args.pool or "", thaw=args.thaw, why=args.why, dry_run=args.dry_run
    )
    return change.ask(args, "Freeze", request)
