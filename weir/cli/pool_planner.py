"""`weir pool-planner`: one pool's planner."""

import argparse

from weir.cli import options

__all__ = ["configure", "run"]

_DESCRIPTION = """\
Plans one pool: watches its traffic and engines over NATS, reports to the GlobalPlanner what
the pool can do, and starts, drains and stops replicas within what it is granted."""

_EXAMPLES = """\
example:
  weir pool-planner --fleet fleet.yaml --pool chat-decode --nats nats://127.0.0.1:4222 \\
      --global-planner 127.0.0.1:7000 --actuator 127.0.0.1:7001

SIGTERM ends the planner, not its replicas. While the GlobalPlanner or NATS is away it holds."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    options.add_fleet_options(parser)
    parser.add_argument("--pool", metavar="NAME", required=True, help="the pool to plan")
    options.add_nats_option(parser)
    parser.add_argument(
        "--global-planner",
        metavar="HOST:PORT[,...]",
        type=options.addresses,
        required=True,
        help="where GlobalPlanners take reports; of several the one that leads is found",
    )
    options.add_credential_options(parser)
    parser.add_argument(
        "--actuator",
        metavar="HOST:PORT",
        type=options.address,
        help="where replicas are started and stopped; `scaling: none` can do without",
    )
    options.add_control_option(parser)
    options.add_clock_options(parser)


def run(args: argparse.Namespace) -> int:
    from poolplanner import app
    from poolplanner.config import PoolPlannerConfig
    from weir import fleet
    from weir.runtime import lifecycle, logs

    loaded = fleet.load(args.fleet, args.set)
    config = PoolPlannerConfig(
        pool=args.pool,
        nats=args.nats,
        global_planner=args.global_planner,
        token_file=args.token_file,
        ca=args.ca,
        cert=args.cert,
        key=args.key,
        actuator=args.actuator,
        control=args.control,
    )
    clock = options.clock_of(args)
    logs.setup(f"pool-planner/{config.pool}")
    return lifecycle.run(lambda stop: app.run(config, loaded, clock, stop))
