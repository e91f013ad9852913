"""What everybody who is known may ask. Reading changes nothing."""

from globalplanner.access.refusals import Refusals
from globalplanner.adapters.callers import Callers, Context, unimplemented
from globalplanner.adapters.offers import Explainer, Planner, Store, WhatIf
from globalplanner.adapters.standing_messages import health_message, status_message
from weir.api.v1 import planner_pb2
from weir.codec.decision import encode_decision
from weir.codec.fields import finite
from weir.domain.decision import Explanation
from weir.domain.ids import ClassName, PoolId

__all__ = ["ReadCalls"]

_MOST_GPUS = 1_000_000
_MOST_LOAD = 1000.0


class ReadCalls:
    """`explainer`, `what_if`: None where this process does not offer them."""

    def __init__(
        self,
        planner: Planner,
        callers: Callers,
        refusals: Refusals,
        store: Store,
        *,
        explainer: Explainer | None = None,
        what_if: WhatIf | None = None,
    ) -> None:
        self._planner = planner
        self._callers = callers
        self._refusals = refusals
        self._store = store
        self._explainer = explainer
        self._what_if = what_if

    async def status(self, context: Context) -> planner_pb2.StatusResponse:
        await self._callers.known(context)
        return status_message(self._planner.standing(), self._refusals)

    async def health(self, context: Context) -> planner_pb2.HealthResponse:
        await self._callers.known(context)
        return health_message(self._planner.health(), self._store)

    async def explain(
        self, request: planner_pb2.ExplainRequest, context: Context
    ) -> planner_pb2.ExplainResponse:
        await self._callers.known(context)
        if self._explainer is None:
            return await unimplemented(context)
        found = _explained(self._explainer, request)
        return planner_pb2.ExplainResponse(
            lines=found.lines,
            decision=encode_decision(found.record) if found.record is not None else None,
        )

    async def what_if(
        self, request: planner_pb2.WhatIfRequest, context: Context
    ) -> planner_pb2.WhatIfResponse:
        await self._callers.known(context)
        if self._what_if is None:
            return await unimplemented(context)
        for name, gpus in request.more_gpus_by_class.items():
            if abs(gpus) > _MOST_GPUS:
                raise ValueError(f"more_gpus_by_class[{name}] must be within {_MOST_GPUS} GPUs")
        factor = finite("load_factor", request.load_factor)
        if factor > _MOST_LOAD:
            raise ValueError(f"load_factor must be at most {_MOST_LOAD:g}, not {factor:g}")
        answer = await self._what_if.ask(dict(request.more_gpus_by_class), factor or 1.0)
        return planner_pb2.WhatIfResponse(
            value=answer.value,
            value_now=answer.value_now,
            full_value=answer.full_value,
            price_by_limit=answer.price_by_limit,
            served_now_rps={str(name): rps for name, rps in answer.served_now_rps.items()},
            served_rps={str(name): rps for name, rps in answer.served_rps.items()},
            replicas_by_pool={str(id): count for id, count in answer.replicas_by_pool.items()},
            lines=answer.lines,
        )


def _explained(explainer: Explainer, request: planner_pb2.ExplainRequest) -> Explanation:
    match request.WhichOneof("subject"):
        case "pool_id":
            return explainer.pool(PoolId(request.pool_id))
        case "class_name":
            return explainer.of_class(ClassName(request.class_name))
        case "decision_id":
            return explainer.decision(request.decision_id)
    return explainer.recent()
