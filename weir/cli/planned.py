"""What `weir pool-planner` is to plan: of a Fleet document, or of a Dynamo planner's file."""

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from weir.cli import options
from weir.domain.errors import FleetError, WeirError
from weir.fleet import LoadedFleet, load, loads
from weir.fleet.dynamo_file import read_dynamo
from weir.fleet.dynamo_fleet import Surroundings, Translation, translated

__all__ = ["Planned", "of"]

_ANYWHERE = "0.0.0.0"
"""Where Dynamo's planner shows its metrics."""
_LINE = re.compile(r"^line \d+: ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """`notes`: what of a Dynamo file does not count as it is written. `text`: its document."""

    loaded: LoadedFleet
    pools: tuple[str, ...]
    alone: bool
    control: str
    budget_gpus: int | None = None
    notes: tuple[str, ...] = ()
    text: str = ""


def of(args: argparse.Namespace) -> Planned:
    """Raises `FleetError`, or `WeirError` if the options do not go together."""
    return _of_fleet(args) if args.fleet is not None else _of_dynamo(args)


def _of_fleet(args: argparse.Namespace) -> Planned:
    if args.model is not None or args.print_fleet:
        raise WeirError("--model and --print-fleet are for --dynamo-config")
    if not args.pools:
        raise WeirError("give --pool NAME, once for each pool to plan")
    if not (args.alone or args.global_planner):
        raise WeirError("give --global-planner HOST:PORT, or --alone")
    if args.budget is not None and not args.alone:
        raise WeirError("--budget is for --alone; the GlobalPlanner has its own")
    return Planned(
        loaded=load(args.fleet, args.set),
        pools=tuple(args.pools),
        alone=args.alone,
        control=args.control,
        budget_gpus=args.budget,
    )


def _of_dynamo(args: argparse.Namespace) -> Planned:
    path: Path = args.dynamo_config
    around = Surroundings(
        folder=Path.cwd(),
        pools=tuple(args.pools),
        model=args.model,
        namespace=os.environ.get("DYN_NAMESPACE"),
        nats=args.nats is not None,
        budget_gpus=args.budget,
    )
    translation = translated(read_dynamo(path), around, source=str(path))
    _check_grants(args, translation)
    text = yaml.safe_dump(translation.document, sort_keys=False)
    loaded = _loaded(text, args.set, f"{path} as a Fleet document")
    port = translation.metrics_port
    return Planned(
        loaded=loaded,
        pools=translation.pools,
        alone=translation.alone,
        control=f"{_ANYWHERE}:{port}"
        if port and args.control == options.ANY_CONTROL
        else args.control,
        notes=translation.notes,
        text=yaml.safe_dump(loaded.tree.data, sort_keys=False),
    )


def _loaded(text: str, sets: Sequence[str], name: str) -> LoadedFleet:
    """Raises `FleetError` without the lines of a text that nobody has seen."""
    try:
        return loads(text, sets, path=name)
    except FleetError as error:
        raise FleetError(name, [_LINE.sub("", each) for each in error.problems]) from None


def _check_grants(args: argparse.Namespace, translation: Translation) -> None:
    if translation.alone and args.global_planner:
        raise WeirError(
            f"{args.dynamo_config}: environment is not global-planner, so it runs alone:"
            " leave out --global-planner, or change it"
        )
    if not translation.alone and args.alone:
        raise WeirError(f"{args.dynamo_config}: environment is global-planner, so not --alone")
    if not translation.alone and not (args.global_planner or args.print_fleet):
        raise WeirError(
            f"{args.dynamo_config}: environment is global-planner: give --global-planner HOST:PORT"
        )
