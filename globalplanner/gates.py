"""A gate that lets every decision through."""

from collections.abc import Mapping

from globalplanner.core.arbiter.snapshot import Decision, Snapshot
from globalplanner.core.operators.proposed import Proposal
from weir.domain.decision import Outcome
from weir.domain.ids import PoolId

__all__ = ["OpenGate"]


class OpenGate:
    mode = "act"
    outcome = Outcome.ACTED
    plans = True
    waiting: tuple[Proposal, ...] = ()

    def through(
        self, before: Mapping[PoolId, int], decision: Decision, snapshot: Snapshot
    ) -> Mapping[PoolId, int]:
        return decision.replicas
