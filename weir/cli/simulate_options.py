"""The options of `weir simulate`: which go together, and how to write them down again."""

import argparse
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from weir.cli import options
from weir.domain.errors import WeirError
from weir.simulator import faults, policies

__all__ = ["Chosen", "configure", "replay_command", "usage"]

_POLICY = "weir"

_EXAMPLES = """\
examples:
  weir simulate fleet.yaml --trace trace.csv.gz --rate-scale 10 --from 25200 --to 32400
  weir simulate fleet.yaml --trace poisson:rate=20,isl=800,osl=200,for=3600 --report report.html
  weir simulate fleet.yaml --compare weir,hpa,oracle
  weir simulate fleet.yaml --to 1800 --faults silence@600+600
  weir simulate fleet.yaml --seeds 0..199 --faults all

docs/reference/simulate.md says what is simulated and what every figure means."""


def configure(parser: argparse.ArgumentParser) -> None:
    """All options, as attributes of the parsed arguments."""
    parser.epilog = f"{_EXAMPLES}\n\n{_names()}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("fleet", type=Path, metavar="FLEET", help="Fleet document")
    _world_options(parser.add_argument_group("what happens"))
    _run_options(parser.add_argument_group("what is run"))
    _output_options(parser.add_argument_group("what comes out"))


def _names() -> str:
    """All policies and faults with what they are."""
    groups = {
        "policies": [(name, entry.help) for name, entry in policies.POLICIES.items()],
        "faults": [(name, make().help) for name, make in faults.FAULTS.items()],
    }
    lines = []
    for title, named in groups.items():
        lines += [f"{title}:", *(f"  {name:<22}{text}" for name, text in named), ""]
    return "\n".join(lines).rstrip()


def _world_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--trace",
        metavar="FILE|RECIPE",
        help="requests: a CSV file, or a recipe such as poisson:rate=6,isl=700,osl=180,for=600 "
        "(default: the fleet's own)",
    )
    group.add_argument(
        "--from", dest="from_s", type=options.seconds, metavar="S", help="begin there in the trace"
    )
    group.add_argument("--to", dest="to_s", type=options.seconds, metavar="S", help="end there")
    group.add_argument(
        "--warmup",
        dest="warmup_s",
        type=options.seconds,
        default=0.0,
        metavar="S",
        help="count neither requests nor GPU-hours of the first S seconds (default 0)",
    )
    group.add_argument(
        "--rate-scale",
        type=options.positive,
        metavar="X",
        help="X times the trace's rate (default: the fleet's own)",
    )
    group.add_argument(
        "--tenant-from", metavar="COLUMN", help="requests carry this column as their tenant"
    )
    group.add_argument(
        "--set",
        dest="sets",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change the document first, such as spec.budget.gpus=6; may be repeated",
    )
    group.add_argument(
        "--faults",
        default="none",
        metavar="LIST",
        help="faults by name, NAME@START+SECONDS for one that is there for so long, "
        "or all (default none)",
    )


def _run_options(group: argparse._ArgumentGroup) -> None:
    which = group.add_mutually_exclusive_group()
    which.add_argument("--policy", default=_POLICY, metavar="NAME", help="default %(default)s")
    which.add_argument("--compare", metavar="NAME,NAME", help="several policies, one table")
    which = group.add_mutually_exclusive_group()
    which.add_argument("--seed", type=int, default=0, metavar="N", help="default %(default)s")
    which.add_argument(
        "--seeds", type=_seeds, metavar="A..B", help="one after the other, to the first that fails"
    )


def _output_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--events", type=Path, metavar="FILE.jsonl", help="what happened, in order")
    group.add_argument("--report", type=Path, metavar="FILE.html", help="charts in one file")
    group.add_argument("--json", action="store_true", help="print one JSON object")


def usage(args: argparse.Namespace) -> "Chosen":
    """Names as lists. Raises `WeirError` for what does not go together or is not known."""
    several = "--compare" if args.compare is not None else "--seeds" if args.seeds else None
    for option, given in (("--events", args.events), ("--report", args.report)):
        if several and given is not None:
            raise WeirError(f"{option} is of one run; leave {several} out")
    if args.compare is not None and args.seeds:
        raise WeirError("--compare is of one seed; give --seed instead of --seeds")
    if args.events is not None and args.events == args.report:
        raise WeirError(f"--events and --report cannot both be {args.events}")
    names = [args.policy] if args.compare is None else _words(args.compare)
    if not names:
        raise WeirError("--compare needs policies, such as weir,hpa,oracle")
    for name in names:
        policies.make(name)
    return Chosen(policies=tuple(dict.fromkeys(names)), faults=faults.named(_words(args.faults)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    policies: tuple[str, ...]
    faults: tuple[str, ...]


def replay_command(args: argparse.Namespace, chosen: Chosen, seed: int) -> str:
    """The command that runs one of the seeds alone."""
    return shlex.join(["weir", "simulate", str(args.fleet), *_replayed(args, chosen, seed)])


def _replayed(args: argparse.Namespace, chosen: Chosen, seed: int) -> Iterator[str]:
    given = {
        "--trace": args.trace,
        "--from": args.from_s,
        "--to": args.to_s,
        "--warmup": args.warmup_s or None,
        "--rate-scale": args.rate_scale,
        "--tenant-from": args.tenant_from,
        "--policy": None if args.policy == _POLICY else args.policy,
        "--seed": seed,
        "--faults": ",".join(chosen.faults) or None,
    }
    for option, value in given.items():
        if value is not None:
            yield from (option, f"{value:g}" if isinstance(value, float) else str(value))
    for text in args.sets:
        yield from ("--set", text)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _seeds(text: str) -> range:
    """A..B, both included, or a single one."""
    low, dots, high = text.partition("..")
    try:
        first = int(low)
        last = int(high) if dots else first
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not A..B, such as 0..199") from None
    if last < first:
        raise argparse.ArgumentTypeError(f"{text} goes backwards")
    return range(first, last + 1)
