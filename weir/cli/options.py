"""Options that several commands share, and their types."""

import argparse
import math
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from weir.runtime.clock import Clock

__all__ = [
    "ANY_CONTROL",
    "add_clock_options",
    "add_control_option",
    "add_credential_options",
    "add_fleet_options",
    "add_nats_option",
    "address",
    "addresses",
    "clock_of",
    "count",
    "nats_urls",
    "positive",
    "seconds",
]

ANY_CONTROL = "127.0.0.1:0"
"""What --control is by default: a free port of this machine."""
_ADDRESS = re.compile(r"[^\s:]+:(\d{1,5})")


def add_fleet_options(parser: argparse.ArgumentParser) -> None:
    """--fleet and --set, as `args.fleet` and `args.set`."""
    parser.add_argument("--fleet", metavar="FILE", required=True, help="the Fleet document")
    parser.add_argument(
        "--set",
        metavar="PATH=VALUE",
        action="append",
        default=[],
        help="override a value of the Fleet document; may be repeated",
    )


def add_nats_option(
    parser: argparse._ActionsContainer, *, required: bool = True, use: str = ""
) -> None:
    parser.add_argument(
        "--nats",
        metavar="URL[,URL]...",
        type=nats_urls,
        required=required,
        help=f"the NATS server{use}, or several nodes of its cluster",
    )


def add_control_option(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--control",
        metavar="HOST:PORT",
        type=address,
        default=ANY_CONTROL,
        help="address of /livez, /readyz and /metrics (default %(default)s: a free port)",
    )


def add_credential_options(parser: argparse._ActionsContainer) -> None:
    """--token-file, --ca, --cert and --key of a client of the GlobalPlanner."""
    parser.add_argument(
        "--token-file", metavar="FILE", type=Path, help="holds the bearer token that says who asks"
    )
    parser.add_argument(
        "--ca", metavar="FILE", type=Path, help="use TLS; whoever answers is certified by this CA"
    )
    parser.add_argument(
        "--cert", metavar="FILE", type=Path, help="client certificate that says who asks"
    )
    parser.add_argument("--key", metavar="FILE", type=Path, help="private key of --cert")


def add_clock_options(parser: argparse._ActionsContainer) -> None:
    """--speed and --clock-origin-s, for `clock_of`."""
    parser.add_argument(
        "--speed",
        metavar="X",
        type=positive,
        default=1.0,
        help="model seconds in a wall second (default %(default)g)",
    )
    parser.add_argument(
        "--clock-origin-s",
        metavar="T",
        type=float,
        help="reading of the machine's monotonic clock at model time 0 (default: now)",
    )


def clock_of(args: argparse.Namespace) -> "Clock":
    from weir.runtime.clock import Clock

    origin_s = time.monotonic() if args.clock_origin_s is None else args.clock_origin_s
    return Clock(speed=args.speed, origin_s=origin_s)


def address(text: str) -> str:
    """HOST:PORT as given."""
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match[1]) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return text


def addresses(text: str) -> tuple[str, ...]:
    """One HOST:PORT or several, separated by commas."""
    found = tuple(address(each.strip()) for each in text.split(","))
    if len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"{text!r} names an address twice")
    return found


def nats_urls(text: str) -> str:
    """One or more URLs, separated by commas, as given."""
    for url in text.split(","):
        try:
            parts = urlsplit(url if "://" in url else f"nats://{url}")
            usable = parts.scheme in ("nats", "tls", "ws", "wss") and parts.hostname is not None
            _ = parts.port
        except ValueError:
            usable = False
        if not usable or url != url.strip():
            raise argparse.ArgumentTypeError(f"{url!r} is not a URL like nats://10.0.0.1:4222")
    return text


def count(text: str) -> int:
    """A whole number above zero."""
    if not (text.isdecimal() and len(text) < 10 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number > 0")
    return int(text)


def positive(text: str) -> float:
    """A finite number above zero."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0.0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number > 0")
    return value


def seconds(text: str) -> float:
    """A finite number, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0.0):
        raise argparse.ArgumentTypeError(f"must be 0 or more seconds, not {text}")
    return value
