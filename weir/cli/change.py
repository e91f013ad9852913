"""What the commands share that change a running fleet: options, the call, the answer."""

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from weir.cli import planner_client

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from weir.api.v1 import planner_pb2

__all__ = ["EXIT_CODES", "add_options", "ask", "whole"]

EXIT_CODES = """\
A change is stored before it is answered, and lasts over restarts until it is changed again.
Exit codes: 0 done, 1 nobody leads or it could not be stored, 2 refused."""


def add_options(parser: argparse.ArgumentParser, description: str, examples: str) -> None:
    """--dry-run, --json, and where the GlobalPlanner is."""
    parser.description = description
    parser.epilog = f"examples:\n{examples}\n\n{EXIT_CODES}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--dry-run", action="store_true", help="say what it would come to, and change nothing"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    planner_client.add_options(parser)


def ask(args: argparse.Namespace, method: str, request: "Message") -> int:
    """Make the change, or with --dry-run predict it, and print what it comes to."""
    from weir.cli.plain import plain

    answer = planner_client.ask(args, method, request)
    print(json.dumps(plain(answer), indent=2) if args.json else "\n".join(_text(answer)))
    return 0


def whole(text: str) -> int:
    """A number of GPUs."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of GPUs")
    return value


def _text(answer: "planner_pb2.SetResponse") -> Iterator[str]:
    yield from answer.lines
    if answer.value_before or answer.value_after:
        yield (
            f"weighted requests/s within SLO: {answer.value_before:.1f} -> {answer.value_after:.1f}"
        )
    yield "done" if answer.applied else "nothing has changed: this was a dry run"
