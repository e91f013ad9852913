"""`weir pool-planner`: the planner of one pool or several."""

import argparse
from typing import TYPE_CHECKING

from weir.cli import options

if TYPE_CHECKING:
    from poolplanner.config import PoolPlannerConfig

__all__ = ["configure", "run"]

_DESCRIPTION = """\
Plans pools: watches their traffic and engines, reports what they can do, and starts, drains and
stops replicas within what they are granted: by the GlobalPlanner, or with --alone out of a budget
of their own."""

_EXAMPLES = """\
examples:
  weir pool-planner --fleet fleet.yaml --pool chat-decode --nats nats://127.0.0.1:4222 \\
      --global-planner 127.0.0.1:7000 --actuator 127.0.0.1:7001
  weir pool-planner --fleet fleet.yaml --pool prefill --pool decode --alone --budget 16 \\
      --nats nats://127.0.0.1:4222 --actuator 127.0.0.1:7001

SIGTERM ends the planner, not its replicas. While the GlobalPlanner or NATS is away it holds."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    options.add_fleet_options(parser)
    parser.add_argument(
        "--pool",
        metavar="NAME",
        dest="pools",
        action="append",
        required=True,
        help="a pool to plan; may be repeated",
    )
    options.add_nats_option(parser, required=False)
    _add_grant_options(parser)
    options.add_credential_options(parser)
    parser.add_argument(
        "--actuator",
        metavar="HOST:PORT",
        type=options.address,
        help="where replicas are started and stopped; `scaling: none` can do without",
    )
    parser.add_argument(
        "--advisory", action="store_true", help="report and explain, start and stop nothing"
    )
    options.add_control_option(parser)
    options.add_clock_options(parser)


def _add_grant_options(parser: argparse.ArgumentParser) -> None:
    either = parser.add_mutually_exclusive_group(required=True)
    either.add_argument(
        "--global-planner",
        metavar="HOST:PORT[,...]",
        type=options.addresses,
        default=(),
        help="where GlobalPlanners take reports; of several the one that leads is found",
    )
    either.add_argument(
        "--alone", action="store_true", help="with a budget of its own, without a GlobalPlanner"
    )
    parser.add_argument(
        "--budget",
        metavar="GPUS",
        type=options.count,
        help="with --alone: GPUs that the pools together may hold (default: the document's)",
    )


def run(args: argparse.Namespace) -> int:
    from weir import fleet
    from weir.domain.errors import WeirError
    from weir.runtime import lifecycle, logs

    if args.budget is not None and not args.alone:
        raise WeirError("--budget is for --alone; the GlobalPlanner has its own")
    loaded = fleet.load(args.fleet, args.set)
    config = _config(args)
    clock = options.clock_of(args)
    logs.setup(f"pool-planner/{','.join(config.pools)}")
    if args.alone:
        from weir import alone

        alone_as = alone.Alone(budget_gpus=args.budget)
        return lifecycle.run(lambda stop: alone.run(config, alone_as, loaded, clock, stop))
    from poolplanner import app

    return lifecycle.run(lambda stop: app.run(config, loaded, clock, stop))


def _config(args: argparse.Namespace) -> "PoolPlannerConfig":
    from poolplanner.config import PoolPlannerConfig

    return PoolPlannerConfig(
        pools=tuple(args.pools),
        nats=args.nats,
        global_planner=args.global_planner,
        token_file=args.token_file,
        ca=args.ca,
        cert=args.cert,
        key=args.key,
        actuator=args.actuator,
        advisory=args.advisory,
        control=args.control,
    )
