"""`weir router`: the public endpoint, and where its requests go."""

import argparse
import logging
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from weir.cli import options

if TYPE_CHECKING:
    from router.config import RouterConfig
    from weir.cli.gridded import Gridded
    from weir.fleet import LoadedFleet
    from weir.runtime.tls import ListenerTls

__all__ = ["configure", "run"]

_log = logging.getLogger("weir.router")

_MOST_PROCESSES = 40
"""Those of two routers, one of which takes over from the other, share one table."""

_DESCRIPTION = """\
The public OpenAI-compatible endpoint and the router behind it. With --fleet it serves the pools
of a Fleet document and learns their workers and the routing plan over NATS; with --model and
--worker it needs no file and serves the workers as one aggregated pool. --dynamo-config takes the
pools and the grid of a Dynamo GlobalRouter."""

_EXAMPLES = """\
examples:
  weir router --listen 0.0.0.0:8080 --model my-model --worker http://10.0.0.1:8000 \\
      --worker http://10.0.0.2:8000
  weir router --fleet fleet.yaml --nats nats://127.0.0.1:4222 --grpc 127.0.0.1:9090
  weir router --fleet fleet.yaml --worker prefill=http://10.0.0.1:8000 \\
      --worker decode=http://10.0.0.2:8000
  weir router --dynamo-config grid.json --model my-model \\
      --worker prefill-0=http://10.0.0.1:8000 --worker decode-0=http://10.0.0.2:8000

SIGTERM fails readiness, lets running requests end, and exits with 0."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    _target_options(parser.add_argument_group("what it serves"))
    _grid_options(parser.add_argument_group("a static grid"))
    _address_options(parser.add_argument_group("where"))
    _process_options(parser.add_argument_group("process"))


def _target_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--fleet", metavar="FILE", type=Path, help="Fleet document")
    group.add_argument(
        "--set",
        metavar="PATH=VALUE",
        dest="sets",
        action="append",
        default=[],
        help="override a value of the Fleet document; may be repeated",
    )
    group.add_argument(
        "--model",
        metavar="NAME",
        action="extend",
        nargs="+",
        default=[],
        help="without --fleet: the model that the workers serve; further names are aliases",
    )
    group.add_argument(
        "--worker",
        metavar="URL",
        dest="workers",
        action="append",
        default=[],
        help="engine to route to, http://HOST:PORT, with --fleet or --dynamo-config "
        "POOL=http://HOST:PORT; may be repeated",
    )


def _grid_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--dynamo-config",
        metavar="FILE",
        type=Path,
        help="the configuration of a Dynamo GlobalRouter (JSON): pools by prompt length, targets "
        "and priority, wherever no routing plan says; without --fleet its namespaces are the "
        "pools. A changed file counts within a second",
    )
    group.add_argument(
        "--default-ttft-target-ms",
        metavar="MS",
        type=options.positive,
        help="what counts in the grid for requests without a TTFT target (default: the middle)",
    )
    group.add_argument(
        "--default-itl-target-ms",
        metavar="MS",
        type=options.positive,
        help="what counts in the grid for requests without an ITL target (default: the middle)",
    )


def _address_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--listen",
        metavar="HOST:PORT",
        default="127.0.0.1:8080",
        help="public endpoint; port 0 takes a free one (default %(default)s)",
    )
    group.add_argument(
        "--tls-cert",
        metavar="FILE",
        type=Path,
        help="PEM certificate chain of the public endpoint, which then speaks TLS only; "
        "renewed files count within a second",
    )
    group.add_argument("--tls-key", metavar="FILE", type=Path, help="private key of --tls-cert")
    group.add_argument("--grpc", metavar="HOST:PORT", help="serve Router.Route there")
    options.add_control_option(group)
    options.add_nats_option(group, required=False, use=" of the fleet")


def _process_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--id", metavar="ID", help="name of this router in the fleet (default: host and port)"
    )
    group.add_argument(
        "--workers",
        metavar="N",
        dest="processes",
        type=options.count,
        help="so many processes share the port and count as one router; one that dies is started "
        "again (default: this one process)",
    )
    group.add_argument(
        "--take-over",
        action="store_true",
        help="with --workers: if such a router of this user has the port, take its sockets once "
        "this one is ready, and let it drain; no connection is lost",
    )
    group.add_argument(
        "--drain-timeout-s",
        metavar="S",
        type=float,
        default=30.0,
        help="wall seconds that running requests get after SIGTERM (default %(default)g)",
    )
    group.add_argument(
        "--drain-notice-s",
        metavar="S",
        type=float,
        default=0.0,
        help="wall seconds after SIGTERM in which requests are still taken, for load balancers "
        "to notice (default %(default)g)",
    )
    options.add_clock_options(group)


def run(args: argparse.Namespace) -> int:
    from weir.cli import gridded

    loaded = _loaded(args)
    grid = gridded.of(args, loaded)
    config = _config(args, loaded, grid)
    from weir.runtime import lifecycle, logs

    logs.setup("router")
    if grid is not None and grid.notes:
        _log.warning("%s: %s", args.dynamo_config, "; ".join(grid.notes))
    if args.processes is None:
        from router import app

        return lifecycle.run(lambda stop: app.run(config, stop))
    from router.processes import app as processes

    count: int = args.processes
    take_over: bool = args.take_over
    return lifecycle.run(lambda stop: processes.run(config, count, stop, take_over=take_over))


def _config(
    args: argparse.Namespace, loaded: "LoadedFleet | None", grid: "Gridded | None"
) -> "RouterConfig":
    """Raises `UsageError` saying what to mend."""
    from router import config
    from router.adapters import static

    listen = config.parse_address("--listen", args.listen)
    _check_processes(args, listen.port)
    named = loaded.fleet if loaded is not None else grid.fleet if grid is not None else None
    if named is not None:
        config.require_extras(named)
    return config.router_config(
        router_id=config.router_id(args.id or f"{socket.gethostname()}-{listen.port}"),
        fleet=static.static_fleet(args.model) if named is None else named,
        settings=config.RouterSettings() if loaded is None else loaded.router,
        folder=Path() if loaded is None else loaded.path.parent,
        grid=None if grid is None else grid.grid,
        grid_source=None if grid is None else grid.source,
        workers=static.static_members(args.workers, named),
        listen=listen,
        tls=_tls(args),
        control=config.parse_address("--control", args.control),
        grpc=None if args.grpc is None else config.parse_address("--grpc", args.grpc),
        nats_url=args.nats,
        clock=options.clock_of(args),
        drain_timeout_s=args.drain_timeout_s,
        drain_notice_s=args.drain_notice_s,
    )


def _check_processes(args: argparse.Namespace, port: int) -> None:
    from router.config import UsageError

    if args.processes is not None and args.processes > _MOST_PROCESSES:
        raise UsageError(f"--workers must be at most {_MOST_PROCESSES}, not {args.processes}")
    if args.take_over and (args.processes is None or not port):
        raise UsageError("--take-over needs --workers, and a port in --listen")


def _tls(args: argparse.Namespace) -> "ListenerTls | None":
    from router.config import UsageError
    from weir.runtime.tls import ListenerTls

    cert, key = args.tls_cert, args.tls_key
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise UsageError("--tls-cert and --tls-key need each other: give both or none")
    return ListenerTls(cert=cert, key=key)


def _loaded(args: argparse.Namespace) -> "LoadedFleet | None":
    """Raises `UsageError` or `FleetError` saying what to mend."""
    from router.config import UsageError
    from weir.fleet import load

    if args.fleet is not None:
        if args.model:
            raise UsageError("--model comes from the Fleet document when --fleet is given")
        if args.nats is None and not args.workers:
            raise UsageError("--fleet needs --nats (or --worker POOL=URL) to know the workers")
        return load(args.fleet, args.sets)
    if not args.model or not args.workers:
        raise UsageError("give --fleet FILE, or --model NAME and at least one --worker URL")
    if args.nats is not None or args.sets:
        raise UsageError("--nats and --set need --fleet")
    return None
