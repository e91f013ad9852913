"""`weir global-planner`: one budget for all pools."""

import argparse

from weir.cli import options

__all__ = ["configure", "run"]

_DESCRIPTION = """\
Splits the GPU budget among the pools: takes their reports over gRPC and what users offer over
NATS, decides replicas and routing together, and grants no more than the budget holds, whatever
may still be running."""

_EXAMPLES = """\
example:
  weir global-planner --fleet fleet.yaml --listen 127.0.0.1:7000 --nats nats://127.0.0.1:4222

After a restart nothing grows until every pool has reported or its maximum fits. While NATS is
away pools keep what they have."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    options.add_fleet_options(parser)
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        type=options.address,
        default="127.0.0.1:7000",
        help="where pool planners report over gRPC (default %(default)s)",
    )
    parser.add_argument(
        "--advisory",
        action="store_true",
        help="decide and explain, but change nothing that pools have",
    )
    options.add_nats_option(parser)
    _add_entrance(parser)
    parser.add_argument(
        "--decisions",
        metavar="FILE",
        help="write decisions into this file too, or into decisions.jsonl in this folder; rotated",
    )
    options.add_control_option(parser)
    options.add_clock_options(parser)


def _add_entrance(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("who may call")
    for name, text in (
        ("--identities", "who may call and for which pools (YAML); without it anybody may"),
        ("--tls-cert", "certificate of the listener (PEM)"),
        ("--tls-key", "its private key (PEM)"),
        ("--client-ca", "let only clients through that this CA has certified (PEM)"),
    ):
        group.add_argument(name, metavar="FILE", help=text)
    group.add_argument(
        "--insecure",
        action="store_true",
        help="listen beyond this machine although anybody may call or tokens can be read",
    )


def run(args: argparse.Namespace) -> int:
    from globalplanner import app
    from globalplanner.config import GlobalPlannerConfig
    from weir import fleet
    from weir.runtime import lifecycle, logs

    loaded = fleet.load(args.fleet, args.set)
    config = GlobalPlannerConfig(
        listen=args.listen,
        tls_cert=args.tls_cert,
        tls_key=args.tls_key,
        client_ca=args.client_ca,
        identities=args.identities,
        insecure=args.insecure,
        nats=args.nats,
        control=args.control,
        decisions=args.decisions,
        advisory=args.advisory,
    )
    clock = options.clock_of(args)
    logs.setup("global-planner")
    return lifecycle.run(lambda stop: app.run(config, loaded, clock, stop))
