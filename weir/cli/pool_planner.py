"""`weir pool-planner`: the planner of one pool or several."""

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from weir.cli import options

if TYPE_CHECKING:
    from poolplanner.config import PoolPlannerConfig
    from weir.cli.planned import Planned

__all__ = ["configure", "run"]

_log = logging.getLogger("weir.poolplanner")

_DESCRIPTION = """\
Plans pools: watches their traffic and engines, reports what they can do, and starts, drains and
stops replicas within what they are granted: by the GlobalPlanner, or with --alone out of a budget
of their own. --dynamo-config takes the configuration of a Dynamo planner instead of a Fleet
document."""

_EXAMPLES = """\
examples:
  weir pool-planner --fleet fleet.yaml --pool chat-decode --nats nats://127.0.0.1:4222 \\
      --global-planner 127.0.0.1:7000 --actuator 127.0.0.1:7001
  weir pool-planner --fleet fleet.yaml --pool prefill --pool decode --alone --budget 16 \\
      --nats nats://127.0.0.1:4222 --actuator 127.0.0.1:7001
  weir pool-planner --dynamo-config planner.yaml --model my-model --print-fleet

SIGTERM ends the planner, not its replicas. While the GlobalPlanner or NATS is away it holds."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    _add_pool_options(parser.add_argument_group("what it plans"))
    _add_grant_options(parser.add_argument_group("who grants"))
    parser.add_argument(
        "--actuator",
        metavar="HOST:PORT",
        type=options.address,
        help="where replicas are started and stopped; `scaling: none` can do without",
    )
    parser.add_argument(
        "--advisory", action="store_true", help="report and explain, start and stop nothing"
    )
    options.add_nats_option(parser, required=False)
    options.add_control_option(parser)
    options.add_clock_options(parser)


def _add_pool_options(group: argparse._ArgumentGroup) -> None:
    either = group.add_mutually_exclusive_group(required=True)
    either.add_argument("--fleet", metavar="FILE", help="the Fleet document")
    either.add_argument(
        "--dynamo-config",
        metavar="FILE",
        type=Path,
        help="the configuration of a Dynamo planner, JSON or YAML",
    )
    group.add_argument(
        "--set",
        metavar="PATH=VALUE",
        action="append",
        default=[],
        help="override a value of the Fleet document; may be repeated",
    )
    group.add_argument(
        "--pool",
        metavar="NAME",
        dest="pools",
        action="append",
        default=[],
        help="a pool to plan; may be repeated. With --dynamo-config what its pools are called",
    )
    group.add_argument(
        "--model", metavar="NAME", help="with --dynamo-config: the model, if it names none"
    )
    group.add_argument(
        "--print-fleet",
        action="store_true",
        help="with --dynamo-config: print the Fleet document that it amounts to, and end",
    )


def _add_grant_options(group: argparse._ArgumentGroup) -> None:
    either = group.add_mutually_exclusive_group()
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
    group.add_argument(
        "--budget",
        metavar="GPUS",
        type=options.count,
        help="alone: GPUs that the pools together may hold (default: the document's)",
    )
    options.add_credential_options(group)


def run(args: argparse.Namespace) -> int:
    from weir.cli import planned
    from weir.runtime import lifecycle, logs

    plan = planned.of(args)
    if args.print_fleet:
        for note in plan.notes:
            print(note, file=sys.stderr)
        print(plan.text, end="")
        return 0
    config = _config(args, plan)
    clock = options.clock_of(args)
    logs.setup(f"pool-planner/{','.join(config.pools)}")
    if plan.notes:
        _log.warning("%s does not count as it is: %s", args.dynamo_config, "; ".join(plan.notes))
    if plan.alone:
        from weir import alone

        alone_as = alone.Alone(budget_gpus=plan.budget_gpus, follows=args.fleet is not None)
        return lifecycle.run(lambda stop: alone.run(config, alone_as, plan.loaded, clock, stop))
    from poolplanner import app

    return lifecycle.run(lambda stop: app.run(config, plan.loaded, clock, stop))


def _config(args: argparse.Namespace, plan: "Planned") -> "PoolPlannerConfig":
    from poolplanner.config import PoolPlannerConfig

    return PoolPlannerConfig(
        pools=plan.pools,
        nats=args.nats,
        global_planner=args.global_planner,
        token_file=args.token_file,
        ca=args.ca,
        cert=args.cert,
        key=args.key,
        actuator=args.actuator,
        advisory=args.advisory or (plan.alone and plan.loaded.planner.advisory),
        control=plan.control,
    )
