"""Reports to the GlobalPlanner over gRPC, wherever it leads now."""

import logging
from collections.abc import Callable, Sequence

import grpc

from poolplanner.adapters.planner_link import PlannerLink
from poolplanner.adapters.rpc import failure
from poolplanner.ports import Answer, StaleReportError
from weir import codec
from weir.api.v1 import planner_pb2
from weir.domain.errors import UnavailableError
from weir.domain.ids import ClassName
from weir.domain.planning import PoolReport
from weir.runtime.credentials import ClientCredentials

__all__ = ["GlobalPlannerClient"]

_log = logging.getLogger("weir.poolplanner")
_WHAT = "report to the GlobalPlanner"


def _nobody() -> None:
    """Nobody waits for pushed grants."""


class GlobalPlannerClient:
    """`targets`: leader and standbys, in any order; whoever has answered last is asked first.

    Each report is answered, or has failed at all of them, within `timeout_s` wall seconds.
    `pushed` is called when there is a new grant: the next report is answered with it.
    """

    def __init__(
        self,
        targets: Sequence[str],
        credentials: ClientCredentials,
        *,
        timeout_s: float,
        pushed: Callable[[], None] = _nobody,
    ) -> None:
        self._links = [PlannerLink(target, credentials, pushed) for target in targets]
        self._timeout_s = timeout_s

    async def report(self, report: PoolReport) -> Answer:
        """Raises `UnavailableError` if none of them answers and leads, `RefusedError`."""
        request = codec.encode_report(report)
        failures = []
        for _ in range(len(self._links)):
            link = self._links[0]
            try:
                answer = await link.report(request, self._timeout_s / len(self._links))
            except grpc.aio.AioRpcError as error:
                problem = failure(_WHAT, link.target, error)
                if not isinstance(problem, UnavailableError):
                    raise problem from None
                failures.append(str(problem))
                await self._turn()
                continue
            return _answer(link.target, report, answer)
        raise UnavailableError("; ".join(failures))

    async def close(self) -> None:
        for link in self._links:
            await link.close()

    async def _turn(self) -> None:
        """Ask the next one from now on."""
        link = self._links.pop(0)
        self._links.append(link)
        await link.leave()
        if len(self._links) > 1:
            _log.info("asking the GlobalPlanner at %s instead", self._links[0].target)


def _answer(target: str, report: PoolReport, answer: planner_pb2.ReportResponse) -> Answer:
    if answer.newest_sequence > report.sequence:
        raise StaleReportError(sequence=report.sequence, newest=answer.newest_sequence)
    try:
        return Answer(
            grant=codec.decode_grant(answer.grant) if answer.HasField("grant") else None,
            targets={
                ClassName(name): codec.decode_targets(targets)
                for name, targets in answer.targets.items()
            },
        )
    except ValueError as error:
        raise UnavailableError(f"{_WHAT} at {target}: bad answer: {error}") from None
