"""`weir mocker`: one mock engine."""

import argparse
from pathlib import Path

import orjson

from weir.cli import options
from weir.domain.fleet import Role
from weir.domain.ids import PoolId, WorkerId
from weir.domain.profile import EngineProfile, profile_from_mapping
from weir.mocker.settings import MockerSettings, NatsSettings, SettingsError
from weir.runtime.address import HostPort, split_address

__all__ = ["configure", "run"]

_DESCRIPTION = """\
A mock engine in vLLM's dialect: OpenAI completions and chat, streaming or not, /metrics under
vLLM's names, and the two legs of prefill/decode disaggregation with kv_transfer_params. Its
tokens mean nothing; their timing is that of continuous batching on the profile's numbers."""

_EXAMPLES = """\
examples:
  weir mocker --model my-model
  weir mocker --listen 127.0.0.1:0 --model my-model --profile h100.json --speed 4
  curl localhost:8000/v1/chat/completions -d '{"model": "my-model", "max_tokens": 8,
      "messages": [{"role": "user", "content": "hello"}]}'

All times but those named wall are model seconds; --speed X makes X of them pass in a wall second.
The port chosen for --listen HOST:0 is in the log's line "listening". SIGTERM drains."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    _engine_options(parser.add_argument_group("the engine"))
    _fleet_options(parser.add_argument_group("its place in a fleet"))
    _time_options(parser.add_argument_group("time"))


def _engine_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--listen",
        metavar="HOST:PORT",
        default="127.0.0.1:8000",
        help="address to serve on; port 0 takes a free one (default %(default)s)",
    )
    group.add_argument(
        "--model",
        metavar="NAME",
        required=True,
        action="extend",
        nargs="+",
        help="model it serves; further names are aliases",
    )
    group.add_argument(
        "--profile",
        metavar="FILE",
        type=Path,
        help="JSON file with timing, KV space and batch limits (default: built-in numbers)",
    )
    group.add_argument(
        "--context-limit-tokens",
        metavar="N",
        type=_positive_int,
        help="most tokens of prompt and output together (default: what the KV space holds)",
    )
    group.add_argument(
        "--max-body-bytes",
        metavar="N",
        type=_positive_int,
        default=16 * 1024 * 1024,
        help="largest request body (default %(default)s)",
    )


def _fleet_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--role",
        choices=[role.value for role in Role],
        default=Role.AGG.value,
        help="what its pool is for; shown in metrics, every engine can serve every leg "
        "(default %(default)s)",
    )
    group.add_argument("--pool", metavar="P", default="mock", help="pool it belongs to")
    group.add_argument("--worker-id", metavar="W", default="mocker", help="its name in the pool")
    group.add_argument("--fleet-name", metavar="F", help="fleet it belongs to; needed with --nats")
    group.add_argument(
        "--kv-host",
        metavar="HOST",
        help="where other engines reach this one to fetch KV (default: the host of --listen)",
    )
    group.add_argument(
        "--kv-events-port",
        metavar="PORT",
        type=_port,
        help="publish what the prefix cache holds, over ZMQ in vLLM's format (default: do not)",
    )
    group.add_argument(
        "--kv-replay-port",
        metavar="PORT",
        type=_port,
        help="where missed KV events can be asked for (default: nowhere)",
    )
    options.add_nats_option(
        group, required=False, use=" for forward-pass metrics, one message a second"
    )


def _time_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--start-up-s",
        metavar="S",
        type=options.seconds,
        default=0.0,
        help="seconds from the start of the process until it is ready (default 0)",
    )
    group.add_argument(
        "--kv-hold-s",
        metavar="S",
        type=options.seconds,
        default=480.0,
        help="how long a prefill leg's KV waits to be fetched (default %(default)g)",
    )
    group.add_argument(
        "--drain-timeout-s",
        metavar="S",
        type=options.seconds,
        default=60.0,
        help="wall seconds after SIGTERM to finish what runs (default %(default)g)",
    )
    options.add_clock_options(group)


def run(args: argparse.Namespace) -> int:
    settings = _settings(args)
    from weir.mocker import app
    from weir.runtime import lifecycle, logs

    app.context_limit(settings)
    logs.setup(f"mocker/{settings.worker}")
    return lifecycle.run(lambda stop: app.run(settings, stop))


def _settings(args: argparse.Namespace) -> MockerSettings:
    host, port = _address(args.listen)
    nats = None
    if args.nats is not None:
        if args.fleet_name is None:
            raise SettingsError("--nats needs --fleet-name, which names the subjects")
        nats = NatsSettings(url=args.nats, fleet=args.fleet_name)
    if args.kv_replay_port is not None and args.kv_events_port is None:
        raise SettingsError("--kv-replay-port needs --kv-events-port")
    return MockerSettings(
        models=tuple(args.model),
        host=host,
        port=port,
        kv_host=args.kv_host,
        profile=EngineProfile() if args.profile is None else _profile(args.profile),
        clock=options.clock_of(args),
        context_limit_tokens=args.context_limit_tokens,
        role=Role(args.role),
        pool=PoolId(args.pool),
        worker=WorkerId(args.worker_id),
        start_up_s=args.start_up_s,
        kv_hold_s=args.kv_hold_s,
        drain_timeout_wall_s=args.drain_timeout_s,
        max_body_bytes=args.max_body_bytes,
        nats=nats,
        kv_events_port=args.kv_events_port,
        kv_replay_port=args.kv_replay_port,
    )


def _profile(path: Path) -> EngineProfile:
    try:
        data = orjson.loads(path.read_bytes())
        if not isinstance(data, dict):
            raise ValueError("it must hold a JSON object")
        return profile_from_mapping(data)
    except OSError as error:
        raise SettingsError(f"--profile {path}: {error.strerror}") from None
    except (ValueError, TypeError) as error:
        raise SettingsError(f"--profile {path}: {error}") from None


def _address(text: str) -> HostPort:
    try:
        return split_address(text)
    except ValueError as error:
        raise SettingsError(f"--listen {error}") from None


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65_535:
        raise argparse.ArgumentTypeError(f"must be from 0 to 65535, not {text}")
    return value


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return value
