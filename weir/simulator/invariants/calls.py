"""B5: every call ends in exactly one way, and until then somebody has it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weir.domain.ids import ClassName
from weir.simulator.call import Call, End
from weir.simulator.invariants.log import ViolationLog

if TYPE_CHECKING:
    from weir.simulator.roles.router import RouterRole
    from weir.simulator.world import World

__all__ = ["CallRule"]


class CallRule:
    """`router` is the one that has had to do with a call last."""

    def __init__(self, world: "World", log: ViolationLog) -> None:
        self.router: RouterRole | None = None
        self._world = world
        self._log = log
        self._classes = [c.name for c in world.fleet.classes]
        self._turn = 0

    def look(self) -> None:
        """After a call has arrived, ended, or gone from one to another."""
        world = self._world
        ended = sum(world.ends)
        if world.arrived != world.open + ended:
            self._log.found(
                "B5", f"{world.arrived} calls arrived, {world.open} are open, {ended} ended"
            )
        if world.roles is not None:
            held = len(world.returning)
            for router in world.roles.routers:
                held += len(router.journeys)
            if held != world.open:
                self._log.found(
                    "B5", f"{world.open} calls are open, routers and clients have {held}"
                )
            if self.router is not None:
                self._turn = (self._turn + 1) % len(self._classes)
                self._look_at(self.router, self._classes[self._turn : self._turn + 1])
                self.router = None

    def ended_again(self, call: Call, end: End) -> None:
        self._log.found("B5", f"call {call.id} has ended before and ends again: {end.name.lower()}")

    def finish(self) -> None:
        """No call is open any more: nothing of any may be left."""
        world = self._world
        for pool in world.cluster.pools.values():
            for replica in pool.replicas.values():
                model = replica.run.model
                left = (replica.in_flight, model.running, model.waiting, model.kv_used_tokens)
                if any(left):
                    self._log.found(
                        "B5",
                        f"replica {replica.id}: all calls have ended, but {left[0]} are on it, "
                        f"{left[1]} run, {left[2]} wait and {left[3]} tokens of KV are used",
                    )
        for spec in world.fleet.pools:
            if world.roles is None and (queued := world.gateway.queued(spec.id)):
                self._log.found("B5", f"all calls have ended, but {queued} wait for {spec.id}")
        for router in world.roles.routers if world.roles is not None else ():
            self._look_at(router, self._classes)
            self._finish(router)

    def _look_at(self, router: "RouterRole", names: Sequence[ClassName]) -> None:
        """A router's own books: of all classes together, and of these. A dead one has none.

        Books that are wrong stay wrong, so that looking at one class at a time finds them.
        """
        if not router.process.alive:
            return
        logs = router.dispatch.traffic.classes
        total = sum([log.open for log in logs.values()])
        if total != len(router.journeys):
            self._log.found(
                "B5",
                f"{router.process.name} counts {total} open requests, {len(router.journeys)} are",
            )
        for name in names:
            log = logs[name]
            ended = sum(log.outcomes.values())
            if log.arrivals != ended + log.open or not 0 <= log.queued <= log.open:
                self._log.found(
                    "B5",
                    f"{router.process.name}, class {name}: {log.arrivals} arrived, {ended} ended, "
                    f"{log.queued} are queued of {log.open} open",
                )

    def _finish(self, router: "RouterRole") -> None:
        if not router.process.alive:
            return
        name, dispatch = router.process.name, router.dispatch
        if len(dispatch.waiting):
            self._log.found("B5", f"{name}: {len(dispatch.waiting)} places are left in the queue")
        for pool in dispatch.pools:
            log = dispatch.traffic.pools[pool.id]
            if log.in_flight or log.queued_tokens:
                self._log.found(
                    "B5",
                    f"{name}, pool {pool.id}: {log.in_flight} legs in flight and "
                    f"{log.queued_tokens} queued tokens are left",
                )
            for worker in pool.workers.values():
                if worker.in_flight or worker.kv_tokens or worker.queued_tokens:
                    self._log.found(
                        "B5",
                        f"{name}, worker {worker.endpoint.id}: {worker.in_flight} requests, "
                        f"{worker.kv_tokens} KV tokens, {worker.queued_tokens} queued are left",
                    )
