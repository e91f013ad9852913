"""A gateway as one would build it without a planner: static homes, least-loaded replicas.

Each class has its home pools (`weir.simulator.homes`); which class a call belongs to is taken
as known. Within a pool the replica with the least load gets the next call: prompt tokens not
yet prefilled, or calls. A replica takes no more at once than its `cap`; who finds none waits
here, first come, first served. Calls lost before their first token are tried again.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING

from weir.domain.fleet import Role
from weir.domain.ids import PoolId
from weir.engine.request import Request
from weir.simulator.call import Call, End
from weir.simulator.cluster import PoolOfReplicas
from weir.simulator.gateway.front import Front
from weir.simulator.replica import Listener, Replica

if TYPE_CHECKING:
    from weir.simulator.homes import Homes
    from weir.simulator.world import World

__all__ = ["Cap", "PlainGateway"]

Cap = Callable[[Replica], float]
"""Most load that a replica is given at once: of prefill tokens not yet prefilled, else calls."""

_TRIES = 3


class PlainGateway:
    """`cap`: what a replica takes at once; without it its queue takes all."""

    def __init__(self, world: "World", homes: "Homes", cap: Cap | None = None) -> None:
        self._world = world
        self._events = world.events
        self._cap = cap
        self.fronts = {spec.id: Front(spec.id, spec.role) for spec in world.fleet.pools}
        self._heads = self._of(homes.prefill)
        self._tails = self._of(homes.decode)
        self._timeout_s = world.router_settings.queue_timeout_s

    def listeners(self) -> Mapping[PoolId, Listener]:
        return {id: self._listener(front) for id, front in self.fronts.items()}

    def attach(self) -> None:
        """The cluster is there: watch it."""
        cluster = self._world.cluster
        for id, front in self.fronts.items():
            front.pool = cluster.pools[id]
        cluster.on_change.append(self._changed)

    def queued(self, pool_id: PoolId) -> int:
        return self.fronts[pool_id].waiting

    def arrive(self, call: Call) -> None:
        front = self.head(call)
        replica = front.choose() if not front.waiting else None
        if replica is None:
            self._wait(front, call)
        else:
            self._send(front, call, replica)

    def cancel(self, call: Call) -> None:
        self._take_off(call)
        self._world.end(call, End.CANCELLED)

    # --- which pool ----------------------------------------------------------------------

    def head(self, call: Call) -> Front:
        """The pool that prefills the call, or does all of it."""
        heads = self._heads[call.class_index]
        return heads[0] if len(heads) == 1 else heads[call.id % len(heads)]

    def tail(self, call: Call) -> Front:
        """The pool that decodes what another has prefilled."""
        tails = self._tails[call.class_index]
        return tails[0] if len(tails) == 1 else tails[call.id % len(tails)]

    # --- legs ----------------------------------------------------------------------------

    def _send(self, front: Front, call: Call, replica: Replica) -> None:
        if front.role is Role.PREFILL:
            self._prefill(call, replica)
        elif front.role is Role.DECODE:
            self._fetch(call, replica)
        else:
            self._serve(call, replica)

    def _prefill(self, call: Call, replica: Replica) -> None:
        replica.load += call.isl_tokens
        call.prefill = replica
        call.state = replica
        request = Request(
            id=call.id,
            prompt_tokens=call.isl_tokens,
            output_tokens=1,
            block_hashes=call.block_hashes(replica.profile.block_tokens),
            hold=True,
        )
        if replica.submit(call, request) is not None:
            self._fail(call)

    def _prefilled(self, call: Call, replica: Replica) -> None:
        replica.load -= call.isl_tokens
        call.state = None
        front = self.tail(call)
        decode = front.choose() if not front.waiting else None
        if decode is None:
            self._wait(front, call)
        else:
            self._fetch(call, decode)
        own = self.fronts[replica.pool_id]
        if own.waiting:
            self._admit(own)

    def _fetch(self, call: Call, replica: Replica) -> None:
        """The decode replica pulls the prompt's KV."""
        replica.load += 1.0
        call.decode = replica
        call.state = replica
        delay_s = replica.profile.kv_transfer_s(call.isl_tokens)
        self._events.after(delay_s, self._fetched, (call, replica, call.attempts))

    def _fetched(self, fetch: tuple[Call, Replica, int]) -> None:
        call, replica, attempt = fetch
        if call.state is not replica or call.attempts != attempt or call.ended:
            return
        if call.prefill is not None:
            call.prefill.release(call)
        request = Request(
            id=call.id,
            prompt_tokens=call.isl_tokens,
            output_tokens=call.osl_tokens,
            block_hashes=call.block_hashes(replica.profile.block_tokens),
            prefilled=True,
        )
        if not replica.alive:
            self._lost(call, replica)
        elif replica.submit(call, request) is not None:
            self._fail(call)

    def _serve(self, call: Call, replica: Replica) -> None:
        """Both stages in one leg."""
        replica.load += 1.0
        call.prefill = call.decode = replica
        call.state = replica
        request = Request(
            id=call.id,
            prompt_tokens=call.isl_tokens,
            output_tokens=call.osl_tokens,
            block_hashes=call.block_hashes(replica.profile.block_tokens),
        )
        if replica.submit(call, request) is not None:
            self._fail(call)

    def _first(self, call: Call, replica: Replica) -> None:
        if call.first_s is None:
            call.first_s = self._events.now_s

    def _finished(self, call: Call, replica: Replica) -> None:
        replica.load -= 1.0
        call.state = None
        self._world.end(call, End.COMPLETED)
        front = self.fronts[replica.pool_id]
        if front.waiting:
            self._admit(front)

    # --- trouble -------------------------------------------------------------------------

    def _lost(self, call: Call, replica: Replica) -> None:
        """A replica has died under the call, or with the KV it was to fetch."""
        if call.ended:
            return
        if call.first_s is not None or call.attempts >= _TRIES:
            self._fail(call)
            return
        self._take_off(call)
        call.prefill = call.decode = None
        call.attempts += 1
        self.arrive(call)

    def _fail(self, call: Call) -> None:
        self._take_off(call)
        self._world.end(call, End.FAILED)

    def _take_off(self, call: Call) -> None:
        """Out of the line it waits in, or off whatever replicas it is on, and its load with it."""
        place, call.state = call.state, None
        if isinstance(place, Front):
            place.waiting -= 1
        elif place is not None:
            place.load -= call.isl_tokens if place is call.prefill is not call.decode else 1.0
        for replica in (call.prefill, call.decode):
            if replica is not None:
                replica.abort(call)
        if isinstance(place, Replica):
            front = self.fronts[place.pool_id]
            if front.waiting:
                self._admit(front)

    # --- waiting -------------------------------------------------------------------------

    def _wait(self, front: Front, call: Call) -> None:
        front.pending.append(call)
        front.waiting += 1
        call.state = front
        self._events.after(self._timeout_s, self._timed_out, (front, call, call.attempts))

    def _timed_out(self, wait: tuple[Front, Call, int]) -> None:
        front, call, attempt = wait
        if call.state is front and call.attempts == attempt:
            self._take_off(call)
            self._world.end(call, End.SHED)
            front.tidy()

    def _changed(self, pool: PoolOfReplicas) -> None:
        for replica in pool.ready:
            if replica.cap == inf and self._cap is not None:
                replica.cap = self._cap(replica)
        front = self.fronts[pool.spec.id]
        if front.waiting:
            self._admit(front)

    def _admit(self, front: Front) -> None:
        """Let in who waits, in order, while there is room."""
        while front.waiting:
            front.tidy()
            replica = front.choose()
            if replica is None:
                return
            front.waiting -= 1
            self._send(front, front.pending.popleft(), replica)

    # --- set-up --------------------------------------------------------------------------

    def _of(self, homes: Sequence[Sequence[PoolId]]) -> list[tuple[Front, ...]]:
        return [tuple(self.fronts[id] for id in ids) for ids in homes]

    def _listener(self, front: Front) -> Listener:
        if front.role is Role.PREFILL:
            return Listener(finished=self._prefilled, lost=self._lost)
        return Listener(first=self._first, finished=self._finished, lost=self._lost)
