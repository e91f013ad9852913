"""`weir pool-planner`: one pool's planner."""

import argparse
import math
import re
import time

__all__ = ["configure", "run"]

_DESCRIPTION = """\
Plans one pool: watches its traffic and engines over NATS, reports to the GlobalPlanner what
the pool can do, and starts, drains and stops replicas within what it is granted."""

_EXAMPLES = """\
example:
  weir pool-planner --fleet fleet.yaml --pool chat-decode --nats nats://127.0.0.1:4222 \\
      --global-planner 127.0.0.1:7000 --actuator 127.0.0.1:7001

SIGTERM ends the planner, not its replicas. While the GlobalPlanner or NATS is away it holds."""

_ADDRESS = re.compile(r"[^\s:]+:(\d{1,5})")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--fleet", metavar="FILE", required=True, help="the Fleet document")
    parser.add_argument(
        "--set",
        metavar="PATH=VALUE",
        action="append",
        default=[],
        help="override a value of the Fleet document; may be repeated",
    )
    parser.add_argument("--pool", metavar="NAME", required=True, help="the pool to plan")
    parser.add_argument("--nats", metavar="URL", required=True, help="the NATS server")
    parser.add_argument(
        "--global-planner",
        metavar="HOST:PORT",
        type=_address,
        required=True,
        help="where the GlobalPlanner takes reports",
    )
    parser.add_argument(
        "--actuator",
        metavar="HOST:PORT",
        type=_address,
        help="where replicas are started and stopped; not needed with `scaling: none`",
    )
    parser.add_argument(
        "--control",
        metavar="HOST:PORT",
        type=_address,
        default="127.0.0.1:0",
        help="address of /livez, /readyz and /metrics (default %(default)s: a free port)",
    )
    parser.add_argument(
        "--speed",
        metavar="X",
        type=_positive,
        default=1.0,
        help="model seconds in a wall second (default %(default)g)",
    )
    parser.add_argument(
        "--clock-origin-s",
        metavar="T",
        type=float,
        help="reading of the machine's monotonic clock at model time 0 (default: now)",
    )


def run(args: argparse.Namespace) -> int:
    from poolplanner import app
    from poolplanner.config import PoolPlannerConfig
    from weir import fleet
    from weir.runtime import lifecycle, logs
    from weir.runtime.clock import Clock

    loaded = fleet.load(args.fleet, args.set)
    config = PoolPlannerConfig(
        pool=args.pool,
        nats=args.nats,
        global_planner=args.global_planner,
        actuator=args.actuator,
        control=args.control,
    )
    origin_s = time.monotonic() if args.clock_origin_s is None else args.clock_origin_s
    clock = Clock(speed=args.speed, origin_s=origin_s)
    logs.setup(f"pool-planner/{config.pool}")
    return lifecycle.run(lambda stop: app.run(config, loaded, clock, stop))


def _address(text: str) -> str:
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match[1]) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return text


def _positive(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0.0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number > 0")
    return value
