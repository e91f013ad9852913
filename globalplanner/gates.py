"""A gate that lets every decision through."""

from collections.abc import Mapping

from globalplanner.core.proposed import Proposal
from globalplanner.core.snapshot import Decision, Snapshot
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
