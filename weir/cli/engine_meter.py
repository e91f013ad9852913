"""`weir engine-meter`: what one engine does, from beside it."""

import argparse

from weir.cli import options

__all__ = ["configure", "run"]

_DESCRIPTION = """\
Stands beside one engine (vLLM, SGLang, TensorRT-LLM), looks at its /metrics once a second, and
publishes one small sample of each second to its pool's planner."""

_EXAMPLES = """\
example:
  weir engine-meter --fleet fleet.yaml --pool chat-decode --worker chat-decode-3 \\
      --nats nats://10.0.0.1:4222 --metrics http://127.0.0.1:8000/metrics"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    options.add_fleet_options(parser)
    parser.add_argument("--pool", metavar="NAME", required=True, help="the engine's pool")
    parser.add_argument(
        "--worker",
        metavar="NAME",
        required=True,
        type=_worker,
        help="the engine's name, which no other engine of the pool has",
    )
    options.add_nats_option(parser)
    parser.add_argument(
        "--metrics",
        metavar="URL",
        type=_url,
        default="http://127.0.0.1:8000/metrics",
        help="where the engine shows its metrics (default %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    from poolplanner import meter
    from weir import fleet
    from weir.runtime import lifecycle, logs
    from weir.runtime.clock import Clock

    loaded = fleet.load(args.fleet, args.set)
    engine = meter.EngineMeter(pool=args.pool, worker=args.worker, url=args.metrics, nats=args.nats)
    logs.setup(f"engine-meter/{engine.worker}")
    return lifecycle.run(lambda stop: meter.run(engine, loaded, Clock(), stop))


def _worker(text: str) -> str:
    """A name that is one word of a NATS subject."""
    if not text or any(each in ".*>" or each.isspace() for each in text):
        raise argparse.ArgumentTypeError(f"{text!r} has a dot, star, > or space in it, or nothing")
    return text


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a URL like http://127.0.0.1:8000/metrics"
        )
    return text
