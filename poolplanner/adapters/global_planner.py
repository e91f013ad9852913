"""Reports to the GlobalPlanner over gRPC, wherever it leads now."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

import grpc

from poolplanner.adapters.planner_link import PlannerLink
from poolplanner.adapters.rpc import failure
from poolplanner.ports import Answer, StaleReportError
from weir import codec
from weir.api.v1 import planner_pb2
from weir.domain.errors import UnavailableError, WeirError
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

    Each report is answered, or has failed at all of them, within `timeout_s` wall seconds. A report
    may be sent again, there or elsewhere: whoever has it already answers all the same.
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
        """Raises `RefusedError` if one of them has refused it, else `UnavailableError`.

        `StaleReportError` if a newer report is known.
        """
        request = codec.encode_report(report)
        problems: list[WeirError] = []
        for _ in range(len(self._links)):
            link = self._links[0]
            try:
                answer = await link.report(request, self._timeout_s / len(self._links))
                return _answer(link.target, report, answer)
            except StaleReportError:
                raise
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                problems.append(_problem(link.target, error))
            except Exception as error:
                problems.append(_problem(link.target, error))
            with suppress(Exception):
                await self._turn()
        for problem in problems:
            if not isinstance(problem, UnavailableError):
                raise problem
        raise UnavailableError("; ".join(map(str, problems)))

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


def _problem(target: str, error: BaseException) -> WeirError:
    """Whatever has gone wrong, it can be tried again."""
    if isinstance(error, grpc.aio.AioRpcError):
        return failure(_WHAT, target, error)
    if isinstance(error, WeirError):
        return error
    return UnavailableError(f"{_WHAT} at {target}: {type(error).__name__}: {error}")


def _answer(target: str, report: PoolReport, answer: planner_pb2.ReportResponse | None) -> Answer:
    if answer is None:  # gRPC could not read it
        raise UnavailableError(f"{_WHAT} at {target}: bad answer: not a message")
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
