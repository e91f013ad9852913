"""Engines in virtual time behind a dispatcher that knows their profile, but not their speed."""

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from math import inf

from router.core.dispatch import Dispatch, DispatchSettings
from router.core.flight import Flight
from router.core.queue.waiting import Place
from router.core.request import Leg, Outcome, Route
from tests.unit.router.builders import fleet, members, request
from weir.domain.fleet import PoolSpec, RequestClass
from weir.domain.ids import PoolId, RouterId
from weir.domain.profile import EngineProfile
from weir.engine.request import Request
from weir.engine.request import Sequence as EngineSequence
from weir.engine.run import EngineRun

__all__ = ["Client", "EngineWorld"]


class Client:
    """One request and what its client saw."""

    def __init__(self, number: int, isl: int, osl: int, flight: Flight) -> None:
        self.number = number
        self.isl = isl
        self.osl = osl
        self.flight = flight
        self.first_s = self.ended_s = inf

    @property
    def ttft_s(self) -> float:
        return self.first_s - self.flight.arrived_s

    @property
    def itl_s(self) -> float:
        return (self.ended_s - self.first_s) / (self.osl - 1)


class EngineWorld:
    """`engines`: the true profiles of the workers of each pool. Run it with `run`."""

    def __init__(
        self,
        pools: Sequence[PoolSpec],
        request_class: RequestClass,
        engines: Mapping[str, Sequence[EngineProfile]],
    ) -> None:
        self.dispatch = Dispatch(
            fleet(pools, (request_class,)), RouterId("r"), DispatchSettings(), lambda at_s: None
        )
        self.done: list[Client] = []
        self._now_s = 0.0
        self._heap: list[tuple[float, int, str | tuple[int, int]]] = []
        self._order = count()
        self._clients: dict[object, Client] = {}
        self._engines: dict[str, EngineRun] = {}
        for pool_id, profiles in engines.items():
            named = {f"{pool_id}-{i}": EngineRun(p) for i, p in enumerate(profiles)}
            self.dispatch.apply_members(members(pool_id, *named), 0.0)
            self._engines |= named

    def arrive(self, at_s: float, isl: int, osl: int) -> None:
        heappush(self._heap, (at_s, next(self._order), (isl, osl)))

    def run(self, until_s: float) -> None:
        while self._heap and self._heap[0][0] <= until_s:
            self._now_s, _, what = heappop(self._heap)
            if isinstance(what, tuple):
                self._open(*what)
            elif self._engines[what].due_s == self._now_s:
                self._advance(what)

    def _open(self, isl: int, osl: int) -> None:
        flight = self.dispatch.open(request(isl, max_tokens=osl, isl_exact=True), self._now_s)
        client = Client(next(self._order), isl, osl, flight)
        self._clients[client.number] = client
        placed = self.dispatch.place(flight, self._now_s)
        if isinstance(placed, Place):
            placed.resume = lambda route: self._send(client, route)
        elif isinstance(placed, Route):
            self._send(client, placed)

    def _send(self, client: Client, route: Route) -> None:
        if route.prefill is None:
            self._submit(client, route.decode, client.osl)
        else:
            self._submit(client, route.prefill, 1)

    def _submit(self, client: Client, leg: Leg, osl: int, *, prefilled: bool = False) -> None:
        work = Request(
            id=client.number, prompt_tokens=client.isl, output_tokens=osl, prefilled=prefilled
        )
        assert self._engines[leg.worker.id].submit(work, self._now_s) is None
        self._follow(leg.worker.id)

    def _follow(self, name: str) -> None:
        due_s = self._engines[name].due_s
        if due_s < inf:
            heappush(self._heap, (due_s, next(self._order), name))

    def _advance(self, name: str) -> None:
        outcome = self._engines[name].advance()
        self._follow(name)
        decodes = self.dispatch.pools[PoolId(name.rpartition("-")[0])].decodes
        for sequence in outcome.first if decodes else ():
            client = self._clients[sequence.id]
            client.first_s = self._now_s
            client.flight.first_token(self._now_s)
        for sequence in outcome.finished:
            self._finished(sequence, decodes)

    def _finished(self, sequence: EngineSequence, decodes: bool) -> None:
        client = self._clients[sequence.id]
        flight = client.flight
        if not decodes:
            assert flight.route is not None
            decode = flight.route.decode
            flight.prefill_done(self._now_s)
            self._submit(client, decode, client.osl, prefilled=True)
            return
        client.ended_s = self._now_s
        flight.finish(Outcome.COMPLETED, self._now_s, client.isl, client.osl)
        self.done.append(client)
