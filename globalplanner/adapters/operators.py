"""What operators change. Every call is logged with who has made it."""

import logging
from collections.abc import Mapping

from google.protobuf.message import Message

from globalplanner.adapters.callers import Callers, Context, unimplemented
from globalplanner.adapters.offers import Effect, Operations
from weir import codec
from weir.api.v1 import planner_pb2
from weir.codec.fields import finite, text
from weir.domain.ids import ClassName, PoolId

__all__ = ["OperatorCalls"]

_log = logging.getLogger("weir.globalplanner")
_MOST_GPUS = 1_000_000
_MOST_PRIORITY = 1_000_000
_MOST_S = 1e7
_MOST_WEIGHT = 1e9
_LONGEST_WHY = 500
_LONGEST_NAME = 253


class OperatorCalls:
    """`operations`: None where this process does not offer them."""

    def __init__(self, callers: Callers, operations: Operations | None = None) -> None:
        self._callers = callers
        self._operations = operations

    async def set_budget(
        self, request: planner_pb2.SetBudgetRequest, context: Context
    ) -> planner_pb2.SetResponse:
        operations = await self._admitted(request, context)
        gpus = request.gpus if request.HasField("gpus") else None
        if gpus is not None:
            _at_most("gpus", finite("gpus", gpus), _MOST_GPUS)
        for name, count in request.gpus_by_class.items():
            field = f"gpus_by_class[{_name('gpus_by_class', name)}]"
            _at_most(field, finite(field, count), _MOST_GPUS)
        effect = await operations.set_budget(
            gpus, dict(request.gpus_by_class), dry_run=request.dry_run
        )
        return _set_response(effect)

    async def set_slo(
        self, request: planner_pb2.SetSloRequest, context: Context
    ) -> planner_pb2.SetResponse:
        operations = await self._admitted(request, context)
        class_name = ClassName(_name("class_name", request.class_name))
        targets = codec.decode_targets(request.targets)
        _at_most("ttft_s", targets.ttft_s or 0.0, _MOST_S)
        _at_most("itl_s", targets.itl_s or 0.0, _MOST_S)
        _at_most("weight", targets.weight or 0.0, _MOST_WEIGHT)
        _at_most("priority", abs(targets.priority or 0), _MOST_PRIORITY)
        return _set_response(await operations.set_slo(class_name, targets, dry_run=request.dry_run))

    async def freeze(
        self, request: planner_pb2.FreezeRequest, context: Context
    ) -> planner_pb2.SetResponse:
        operations = await self._admitted(request, context)
        pool_id = PoolId(_name("pool_id", request.pool_id)) if request.pool_id else None
        effect = await operations.freeze(
            pool_id, thaw=request.thaw, why=_why(request.why), dry_run=request.dry_run
        )
        return _set_response(effect)

    async def drain(
        self, request: planner_pb2.DrainRequest, context: Context
    ) -> planner_pb2.SetResponse:
        operations = await self._admitted(request, context)
        pool_id = PoolId(_name("pool_id", request.pool_id))
        effect = await operations.drain(
            pool_id, undo=request.undo, why=_why(request.why), dry_run=request.dry_run
        )
        return _set_response(effect)

    async def approve(
        self, request: planner_pb2.ApproveRequest, context: Context
    ) -> planner_pb2.ApproveResponse:
        operations = await self._admitted(request, context)
        proposal_id = _name("proposal_id", request.proposal_id)
        lines = await operations.approve(proposal_id, reject=request.reject)
        return planner_pb2.ApproveResponse(lines=lines)

    async def _admitted(self, request: Message, context: Context) -> Operations:
        """Ends the call unless an operator calls and this process can do it."""
        caller = await self._callers.operator(context)
        if self._operations is None:
            return await unimplemented(context)
        asked = " ".join(str(request).split())[:_LONGEST_WHY]
        _log.info("operator=%s asks %s: %s", caller.name, type(request).__name__, asked)
        return self._operations


def _set_response(effect: Effect) -> planner_pb2.SetResponse:
    return planner_pb2.SetResponse(
        applied=effect.applied,
        lines=effect.lines,
        value_before=effect.value_before,
        value_after=effect.value_after,
        served_before_rps=_by_name(effect.served_before_rps),
        served_after_rps=_by_name(effect.served_after_rps),
    )


def _by_name(rates: Mapping[ClassName, float]) -> dict[str, float]:
    return {str(name): rps for name, rps in rates.items()}


def _at_most(field: str, value: float, most: float) -> None:
    if value > most:
        raise ValueError(f"{field} must be at most {most:g}, not {value:g}")


def _name(field: str, value: str) -> str:
    if len(text(field, value)) > _LONGEST_NAME:
        raise ValueError(f"{field} must have at most {_LONGEST_NAME} characters")
    return value


def _why(value: str) -> str:
    """Shown on terminals and in logs, so nothing in it may steer those."""
    if len(value) > _LONGEST_WHY or not value.isprintable():
        raise ValueError(f"why must be one line of at most {_LONGEST_WHY} printable characters")
    return value
