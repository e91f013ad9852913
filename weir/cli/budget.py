"""`weir budget`: how many GPUs a running fleet may hold."""

import argparse

from weir.cli import change
from weir.domain.errors import WeirError

__all__ = ["configure", "run"]

_DESCRIPTION = """\
Sets how many GPUs all pools of a running fleet together may hold, and how many of single GPU
classes. It replaces what was set live before; what is not given counts as in the Fleet document.
It comes before the document's budget windows. Pools that have too much give it up at once, least
worth first; a budget below the pools' floors is refused."""

_EXAMPLES = """\
  weir budget 48 --dry-run
  weir budget 48 --gpu-class H100=16
  weir budget --reset"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "gpus", metavar="GPUS", nargs="?", type=change.whole, help="GPUs that all pools may hold"
    )
    parser.add_argument(
        "--gpu-class",
        metavar="NAME=GPUS",
        action="append",
        default=[],
        type=_of_class,
        help="limit a GPU class; may be repeated",
    )
    parser.add_argument(
        "--reset", action="store_true", help="let the Fleet document and its windows count again"
    )
    change.add_options(parser, _DESCRIPTION, _EXAMPLES)


def run(args: argparse.Namespace) -> int:
    from weir.api.v1 import planner_pb2

    given = args.gpus is not None or bool(args.gpu_class)
    if given is args.reset:
        raise WeirError("give GPUS or --gpu-class, or else --reset")
    request = planner_pb2.SetBudgetRequest(
        gpus=args.gpus, gpus_by_class=dict(args.gpu_class), dry_run=args.dry_run
    )
    return change.ask(args, "SetBudget", request)


def _of_class(text: str) -> tuple[str, int]:
    name, equals, gpus = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=GPUS, such as H100=16")
    return name, change.whole(gpus)
