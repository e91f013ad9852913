"""`weir approve`: let what the GlobalPlanner proposes happen."""

import argparse
import asyncio
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from weir.cli import planner_client
from weir.domain.errors import WeirError

if TYPE_CHECKING:
    from weir.api.v1 import planner_pb2

__all__ = ["configure", "run"]

_DESCRIPTION = """\
Where the Fleet document says `spec.planner.approve: required`, decisions wait until somebody lets
them happen. Without an ID this lists what waits. An approved proposal does what it says and no
more; it is superseded if the GlobalPlanner has come to something else meanwhile."""

_EXAMPLES = """\
examples:
  weir approve
  weir approve 3fa29c
  weir approve 3fa29c --reject

Exit codes: 0 done, 1 nobody leads, 2 the proposal does not wait (any more)."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("id", metavar="ID", nargs="?", help="the proposal; lists them if left out")
    parser.add_argument(
        "--reject", action="store_true", help="drop it; it is not proposed again for 15 minutes"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    planner_client.add_options(parser)


def run(args: argparse.Namespace) -> int:
    from weir.api.v1 import planner_pb2
    from weir.cli.plain import plain

    if args.id is None:
        if args.reject:
            raise WeirError("give the ID of the proposal to reject")
        return _list(args)
    request = planner_pb2.ApproveRequest(proposal_id=args.id, reject=args.reject)
    answer = planner_client.ask(args, "Approve", request)
    print(json.dumps(plain(answer), indent=2) if args.json else "\n".join(answer.lines))
    return 0


def _list(args: argparse.Namespace) -> int:
    from weir.api.v1 import planner_pb2
    from weir.cli.plain import plain

    async def look() -> "planner_pb2.StatusResponse":
        async with planner_client.connected(args) as planner:
            answer: planner_pb2.StatusResponse = await planner.call(
                "Status", planner_pb2.StatusRequest(), prefer=lambda answer: answer.leading
            )
            return answer

    status = asyncio.run(look())
    if args.json:
        proposals = [plain(proposal) for proposal in status.proposals]
        print(json.dumps({"mode": status.mode, "proposals": proposals}, indent=2))
    else:
        print("\n".join(_text(status)))
    return 0


def _text(status: "planner_pb2.StatusResponse") -> Iterator[str]:
    if not status.leading:
        yield "this GlobalPlanner does not lead; ask the one that does"
    elif not status.proposals:
        why = "" if status.mode == "approve" else f": mode {status.mode}, decisions do not wait"
        yield f"nothing waits{why}"
    for proposal in status.proposals:
        yield proposal.id
        for item in proposal.changes:
            yield (
                f"  {item.pool_id}: {item.before_replicas} -> {item.after_replicas} ({item.reason})"
            )
