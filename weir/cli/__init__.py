"""The `weir` command: finds the command's module, runs it, turns errors into exit codes.

A command is a module with `configure(parser)` and `run(args) -> int`, imported only when it
is chosen. Exit codes: 0 done, 1 failed while running, 2 bad usage or input, 130 interrupted.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from weir.domain.errors import UnavailableError, WeirError

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("weir.cli.up", "run a whole fleet on this machine"),
    "simulate": (
        "weir.cli.simulate",
        "what a trace, a fleet and a policy come to, in virtual time",
    ),
    "check": ("weir.cli.check", "validate and cross-check a Fleet document"),
    "schema": ("weir.cli.schema", "print the JSON schema of the Fleet document"),
    "router": ("weir.cli.router", "public endpoint and router of a fleet"),
    "pool-planner": ("weir.cli.pool_planner", "size and scale one pool within its grant"),
    "engine-meter": ("weir.cli.engine_meter", "what one engine does, from beside it"),
    "global-planner": ("weir.cli.global_planner", "split the GPU budget among the pools"),
    "status": ("weir.cli.status", "how a running fleet stands: ledger, pools, plan, health"),
    "explain": ("weir.cli.explain", "why a pool or a class has what it has, or what was decided"),
    "approve": ("weir.cli.approve", "let what waits for approval happen, or drop it"),
    "budget": ("weir.cli.budget", "change how many GPUs a running fleet may hold"),
    "slo": ("weir.cli.slo", "change what a class is to meet and what it is worth"),
    "freeze": ("weir.cli.freeze", "let a pool keep what it has, whatever is needed"),
    "drain": ("weir.cli.drain", "take a pool down to nothing"),
    "what-if": ("weir.cli.what_if", "what a fleet would serve with other GPUs or another load"),
    "mocker": ("weir.cli.mocker", "mock engine in vLLM's dialect"),
}
"""Command name -> (module, one line of help)."""

_DESCRIPTION = """\
Hierarchical routing and capacity for LLM inference fleets: one endpoint, many pools,
one GPU budget. Start with `weir up`; `weir COMMAND --help` says more."""


class _Version(argparse.Action):
    """Looks the version up only when asked, to keep every other start fast."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"weir {version('weir')}")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run `weir ARGV...` and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in arguments if not word.startswith("-")), "")
    name = f"weir {command}" if command in COMMANDS else "weir"
    try:
        code = _run(arguments, command)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone (`weir check | head`): nothing to say, nowhere to say it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130
    except UnavailableError as error:
        return _complain(name, error, code=1)
    except WeirError as error:
        return _complain(name, error, code=2)
    except OSError as error:
        return _complain(name, error, code=1)
    return code


def _run(arguments: list[str], command: str) -> int:
    parser = _parser(command)
    try:
        args = parser.parse_args(arguments)
    except SystemExit as stop:  # argparse has printed help, the version or what is wrong
        return stop.code if isinstance(stop.code, int) else 2
    if args.command is None:
        parser.print_help(sys.stderr)
        return 2
    code: int = args.run(args)
    return code


def _parser(command: str) -> argparse.ArgumentParser:
    """The parser of all commands, of which only `command` gets its module and arguments."""
    parser = argparse.ArgumentParser(prog="weir", description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, (module_name, summary) in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        if name == command:
            module = importlib.import_module(module_name)
            module.configure(sub)
            sub.set_defaults(run=module.run)
    return parser


def _complain(name: str, error: Exception, *, code: int) -> int:
    for line in str(error).splitlines() or [type(error).__name__]:
        print(f"{name}: {line}", file=sys.stderr)
    return code
