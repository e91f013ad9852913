"""`weir explain`: why a pool or a class got what it got, or what a decision weighed."""

import argparse
import asyncio
import json
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from weir.cli import planner_client
from weir.domain.errors import UnknownError

if TYPE_CHECKING:
    from weir.domain.decision import Explanation

__all__ = ["configure", "run"]

_DESCRIPTION = """\
Tells why: what a pool has, what was decided last and when, why, what it waits for and what would
change it; how a class is served; what a decision weighed. Without a subject it lists the last
decisions."""

_EXAMPLES = """\
examples:
  weir explain
  weir explain decode-a
  weir explain 1712.42 --json | jq .decision.price_by_limit
  weir explain class/chat --log runs/decisions.jsonl

Exit codes: 0 told, 1 nobody answers or the log cannot be read, 2 there is no such thing."""

_DECISION = re.compile(r"\d+\.\d+")
_KINDS = ("pool", "class", "decision")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "subject",
        metavar="POOL|CLASS|DECISION",
        nargs="?",
        default="",
        help="a name, or TERM.NUMBER; a pool comes before a class of the same name, so say "
        "class/NAME for that",
    )
    parser.add_argument(
        "--log",
        metavar="FILE",
        type=Path,
        help="read a decision log (or the folder it is in) instead of asking a GlobalPlanner",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, on one line")
    planner_client.add_options(parser)


def run(args: argparse.Namespace) -> int:
    kinds, name = _subject(args.subject)
    look = _read if args.log is not None else _ask
    kind, explanation = look(args, kinds, name)
    if args.json:
        print(_as_json(kind, name, explanation))
    else:
        print("\n".join(explanation.lines))
    return 0


def _subject(text: str) -> tuple[tuple[str, ...], str]:
    """What it may be, in the order in which that is tried, and its name."""
    kind, slash, name = text.partition("/")
    if slash and kind in _KINDS:
        return (kind,), name
    if not text:
        return ("recent",), ""
    return (("decision",) if _DECISION.fullmatch(text) else ("pool", "class")), text


def _read(args: argparse.Namespace, kinds: tuple[str, ...], name: str) -> "tuple[str, Explanation]":
    from globalplanner.adapters.jsonl import newest_first, place_of
    from globalplanner.decisions.explain_log import LogExplainer
    from weir.domain.ids import ClassName, PoolId

    log = LogExplainer(partial(newest_first, place_of(args.log)), time.time())
    ways: dict[str, Callable[[], Explanation]] = {
        "recent": log.recent,
        "pool": lambda: log.pool(PoolId(name)),
        "class": lambda: log.of_class(ClassName(name)),
        "decision": lambda: log.decision(name),
    }
    refusals = []
    for kind in kinds:
        try:
            return kind, ways[kind]()
        except UnknownError as error:
            refusals.append(str(error))
    raise UnknownError("\n".join(refusals))


def _ask(args: argparse.Namespace, kinds: tuple[str, ...], name: str) -> "tuple[str, Explanation]":
    return asyncio.run(_asked(args, kinds, name))


async def _asked(
    args: argparse.Namespace, kinds: tuple[str, ...], name: str
) -> "tuple[str, Explanation]":
    from weir.api.v1 import planner_pb2
    from weir.codec import decode_decision
    from weir.domain.decision import Explanation

    requests = {
        "recent": planner_pb2.ExplainRequest(),
        "pool": planner_pb2.ExplainRequest(pool_id=name),
        "class": planner_pb2.ExplainRequest(class_name=name),
        "decision": planner_pb2.ExplainRequest(decision_id=name),
    }
    refusals = []
    async with planner_client.connected(args) as planner:
        for kind in kinds:
            try:
                answer = await planner.call("Explain", requests[kind])
            except planner_client.RefusedError as error:
                refusals.append(str(error))
                continue
            kept = answer.HasField("decision")
            record = decode_decision(answer.decision) if kept else None
            return kind, Explanation(lines=tuple(answer.lines), record=record)
    raise planner_client.RefusedError("\n".join(dict.fromkeys(refusals)))


def _as_json(kind: str, name: str, explanation: "Explanation") -> str:
    from weir.codec import decision_json

    record = explanation.record
    return json.dumps(
        {
            "kind": kind,
            "subject": name,
            "lines": explanation.lines,
            "decision": json.loads(decision_json(record)) if record is not None else None,
        }
    )
