"""Scale requests of Dynamo planners: wishes in, and what has become of them out.

The arbiter and the ledger decide; here nothing is granted. `take` and `reply` do not await. Whoever
waits for replicas to be ready waits outside of everything: a newer request for the same
deployment counts at once, and ends the waiting.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from globalplanner.access.identity import Identity
from globalplanner.core.dynamo.scale_bounds import impossible, takes_too_much
from globalplanner.core.dynamo.scale_reply import Stand, refusal, reply_to
from globalplanner.core.dynamo.scale_request import (
    ScaleReply,
    ScaleRequest,
    ScaleStatus,
    addressed,
    component_of,
)
from globalplanner.core.dynamo.wishes import Wishes
from globalplanner.core.operators.proposals import Mode
from globalplanner.metrics import Metrics
from globalplanner.service import GlobalPlanner
from globalplanner.standing import Health
from weir.domain.errors import UnavailableError
from weir.domain.ids import PoolId
from weir.runtime.clock import Clock

__all__ = ["ScaleRequests", "Taken"]

_log = logging.getLogger("weir.globalplanner")
_DECIDED_WITHIN_S = 1.0
_READY_WITHIN_S = 1800.0
_LOOK_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A request whose wishes count; `number` tells it from later ones for its deployment."""

    request: ScaleRequest
    asked: Mapping[PoolId, int]
    number: int


class ScaleRequests:
    def __init__(
        self,
        planner: GlobalPlanner,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._planner = planner
        self._clock = clock
        self._metrics = metrics
        self._wishes = Wishes()
        self._taken = 0
        self._newest: dict[str, int] = {}

    def wishes(self) -> Mapping[PoolId, int]:
        """What each pool that a Dynamo planner sizes should have, by its newest wish."""
        ledger = self._planner.ledger
        decided = {
            id: account.target
            for id, account in (ledger.accounts if ledger is not None else {}).items()
            if account.spec.dynamo is not None and account.report is not None
        }
        return self._wishes.in_force(decided, self._clock.wall_s())

    def managed(self) -> list[str]:
        """Dynamo namespaces whose planners may ask."""
        pools = self._planner.fleet.pools
        return sorted({pool.dynamo.caller_namespace for pool in pools if pool.dynamo})

    def health(self) -> Health:
        """Of the process that would answer."""
        return self._planner.health()

    async def ask(self, request: ScaleRequest, identity: Identity) -> ScaleReply:
        """Take the request in and answer as soon as it is granted, or partly so and decided.

        A caller that is `blocking` waits until its replicas are ready. Raises `UnavailableError`
        if this process does not lead.
        """
        taken = self.take(request, identity)
        reply = taken if isinstance(taken, ScaleReply) else await self._outcome(taken)
        self._note(reply, identity, of=self._named(request))
        return reply

    def refuse(self, why: str, identity: Identity) -> ScaleReply:
        """The answer to what could not be read."""
        reply = refusal(ScaleStatus.ERROR, why, {})
        self._note(reply, identity, of="?")
        return reply

    def take(self, request: ScaleRequest, identity: Identity) -> Taken | ScaleReply:
        """Its wishes count from now on; or why not, and then nobody gets more or less for it.

        Raises `UnavailableError` if this process does not lead.
        """
        planner, now_s = self._planner, self._clock.wall_s()
        if planner.term == 0:
            raise UnavailableError(f"this GlobalPlanner {planner.not_ready()}")
        fleet = planner.fleet
        try:
            asked = addressed(request, fleet.pools)
        except ValueError as error:
            return refusal(ScaleStatus.ERROR, str(error), {})
        if foreign := [pool_id for pool_id in sorted(asked) if not identity.may_report(pool_id)]:
            why = f"{identity.name} may not speak for {', '.join(foreign)}"
            return refusal(ScaleStatus.ERROR, why, {})
        stands = self._stands(request)
        if self._wishes.is_late(asked, request.timestamp_s, now_s):
            return refusal(ScaleStatus.REJECTED, "a request made after this one counts", stands)
        decided = self._decided()
        why = impossible(asked, decided, fleet) or takes_too_much(
            asked, decided, self.wishes(), fleet, stuck=self._stuck()
        )
        if why:
            self._wishes.lower(asked, decided)
            return refusal(ScaleStatus.REJECTED, why, stands)
        self._wishes.note(asked, request.timestamp_s, now_s, ttl_s=fleet.dynamo.intent_ttl_s)
        planner.wake.set()
        self._taken += 1
        self._newest[self._named(request)] = self._taken
        return Taken(request=request, asked=asked, number=self._taken)

    def reply(self, taken: Taken) -> ScaleReply:
        """What has become of it by now."""
        request = taken.request
        if self._planner.gate.mode == Mode.ADVISE:
            asked = ", ".join(f"{id} {count}" for id, count in sorted(taken.asked.items()))
            message = f"[no-operation] would aim for {asked} as far as there is room"
            return ScaleReply(status=ScaleStatus.SUCCESS, message=message, current_replicas={})
        stands = self._stands(request)
        if gone := sorted(taken.asked.keys() - stands.keys()):
            why = f"{', '.join(gone)} is no component of {self._named(request)} any more"
            return refusal(ScaleStatus.ERROR, why, stands)
        return reply_to(taken.asked, stands, blocking=request.blocking)

    async def _outcome(self, taken: Taken) -> ScaleReply:
        patience_s = _READY_WITHIN_S if taken.request.blocking else _DECIDED_WITHIN_S
        until_s = self._clock.wall_s() + patience_s
        while True:
            reply = self.reply(taken)
            left_s = until_s - self._clock.wall_s()
            newest = self._newest[self._named(taken.request)] == taken.number
            if reply.status is not ScaleStatus.SCALING or left_s <= 0.0 or not newest:
                return reply
            await self._planner.news(min(left_s, _LOOK_S))
            if self._planner.term == 0:
                raise UnavailableError(f"this GlobalPlanner {self._planner.not_ready()}")

    def _note(self, reply: ScaleReply, identity: Identity, *, of: str) -> None:
        self._metrics.scale_request(reply.status)
        _log.info(
            "scale request deployment=%s by=%s status=%s: %s",
            of, identity.name, reply.status, reply.message,
        )  # fmt: skip

    def _decided(self) -> dict[PoolId, int]:
        """Replicas that each pool is to have."""
        ledger = self._planner.ledger
        accounts = ledger.accounts if ledger is not None else {}
        return {id: account.target for id, account in accounts.items()}

    def _stuck(self) -> set[PoolId]:
        """Pools that stay as they are, whatever is wished."""
        overrides = self._planner.overrides
        return {*overrides.frozen, *overrides.drained, *self._planner.health().silent_pools}

    def _stands(self, request: ScaleRequest) -> dict[PoolId, Stand]:
        fleet, named = self._planner.fleet, self._named(request)
        asks_people = self._planner.gate.mode == Mode.APPROVE
        members = {pool.id: pool for pool in fleet.pools if str(pool.dynamo) == named}
        return {
            pool.pool_id: Stand(
                component=component_of(members[pool.pool_id]),
                decided=pool.wanted,
                granted=self._granted(pool.pool_id),
                state=pool.state,
                why=f"{pool.reason}, waits for approval" if asks_people else pool.reason,
            )
            for pool in self._planner.standing().pools
            if pool.pool_id in members
        }

    def _granted(self, pool_id: PoolId) -> int:
        """Replicas of the newest grant that may be sent."""
        grant = self._planner.grant_of(pool_id)
        return grant.replicas if grant is not None else 0

    @staticmethod
    def _named(request: ScaleRequest) -> str:
        return f"{request.k8s_namespace}/{request.deployment}"
