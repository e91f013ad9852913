"""The simulated world: arrivals meet a gateway, a cluster and a policy in virtual time.

Everything that happens is an event; after each of them the invariants are looked at. A seed
gives every part a stream of random numbers of its own, so that one part's draws do not
change another's.
"""

from collections.abc import Callable, Iterator
from math import inf
from random import Random
from typing import TYPE_CHECKING

from globalplanner.core.budget.limits import check_floors
from weir.domain.errors import InfeasibleFloorsError, WeirError
from weir.domain.fleet import Fleet
from weir.simulator.call import Call, End
from weir.simulator.cluster import Cluster
from weir.simulator.events import EventHeap
from weir.simulator.gateway.port import Gateway
from weir.simulator.invariants import Invariants
from weir.simulator.journal import Journal
from weir.simulator.policies.port import Policy
from weir.simulator.recorder import Recorder
from weir.simulator.scenario import Scenario
from weir.workload.clients import ClientBehaviour

if TYPE_CHECKING:
    from weir.simulator.roles.together import Roles

__all__ = ["World"]

LEAD_IN_S = 10.0
"""The control plane is up so long before the first request may come."""
_CHUNK = 65_536
_LONGEST_DRAIN_S = 3600.0


class World:
    """`run` once. `open` calls have arrived and not ended; `fleet` is the document in force."""

    def __init__(self, scenario: Scenario, policy: Policy, journal: Journal | None = None) -> None:
        loaded = scenario.loaded
        self.scenario = scenario
        self.fleet = scenario.fleet
        self.settings = loaded.simulation
        self.router_settings = loaded.router
        self.planner_settings = loaded.planner
        self.events = EventHeap(scenario.start_s - LEAD_IN_S)
        self.arrived = 0
        self.open = 0
        self.returning: set[int] = set()
        """Open calls that were shed and whose clients will try again."""
        self.ends = [0] * len(End)
        self.journal = journal or Journal()
        self.roles: Roles | None = None
        """Weir's processes, where the policy has them."""
        self._edits: dict[str, Callable[[Fleet], Fleet]] = {}
        self.over = False
        """All calls have ended: nobody need plan any more."""
        counted = (scenario.count_from_s, scenario.end_s)
        self.recorder = Recorder(scenario.fleet, scenario.feasible, counted=counted)
        self._clients = ClientBehaviour(
            patience_s=self.settings.patience_s, retries=self.settings.retries
        )
        self._client_rng = self.random("clients")
        self._patient = self.settings.patience_s is None
        self.gateway: Gateway = policy.gateway(self)
        self.cluster = Cluster(
            self.fleet,
            scenario.profiles,
            self.gateway.listeners(),
            self.settings,
            self.events,
            self.random("cluster"),
            counted=counted,
        )
        self.invariants = Invariants(self)
        self.on_end: list[Callable[[Call, End], None]] = []
        policy.start(self)

    @property
    def now_s(self) -> float:
        return self.events.now_s

    def random(self, name: str) -> Random:
        """A stream of random numbers for one part of the world."""
        return Random(f"{self.scenario.seed}:{name}")

    def every(self, interval_s: float, call: Callable[[], object], *, first_s: float = 0.0) -> None:
        """Call again and again until the run is over, for the first time in `first_s`."""

        def tick(_: object) -> None:
            if not self.over:
                call()
                self.events.after(interval_s, tick)

        self.events.after(first_s, tick)

    def end(self, call: Call, end: End, retry_after_s: float = 1.0) -> None:
        """A call has come to its end, unless its client tries again."""
        invariants = self.invariants
        invariants.calls_changed = True
        if call.ended:
            invariants.calls.ended_again(call, end)
            return
        if end is End.SHED:
            delay_s = self._clients.retry_after_s(call.attempts, retry_after_s, self._client_rng)
            if delay_s is not None:
                call.attempts += 1
                self.returning.add(call.id)
                self.events.after(delay_s, self._again, call)
                return
        call.ended = True
        self.open -= 1
        self.ends[end] += 1
        if self.returning:
            self.returning.discard(call.id)
        self.recorder.ended(call, end, self.events.now_s)
        for hear in self.on_end:
            hear(call, end)

    def edit(self, who: str, change: Callable[[Fleet], Fleet] | None) -> bool:
        """Let the document have this besides what others have changed, or (None) no longer.

        False if its floors would not fit; then nothing has changed.
        """
        edits = {name: each for name, each in self._edits.items() if name != who}
        if change is not None:
            edits[who] = change
        fleet = self.scenario.fleet
        for _, each in sorted(edits.items()):
            fleet = each(fleet)
        try:
            check_floors(fleet)
        except InfeasibleFloorsError:
            return False
        self._edits = edits
        self.change_document(fleet)
        return True

    def change_document(self, fleet: Fleet) -> None:
        """Somebody has changed the budget; whoever reads it at every look finds it changed."""
        self.fleet = self.cluster.fleet = fleet
        self.invariants.budget.document_changed()

    def run(self, progress: Callable[[float], None] | None = None) -> None:
        """Until all calls have ended. `progress` is told the share that is done."""
        invariants = self.invariants
        events, check, arrive = self.events, invariants.check, self.gateway.arrive
        run_until, patient = events.run_until, self._patient
        for count, call in enumerate(self._calls()):
            arrived_s = call.arrived_s
            run_until(arrived_s, check)
            events.now_s = arrived_s
            self.arrived += 1
            self.open += 1
            invariants.calls_changed = True
            if not patient:
                self._limit_patience(call)
            arrive(call)
            check()
            if progress is not None and count % 4096 == 0:
                progress(self._share_done())
        self._drain()

    def _drain(self) -> None:
        """What is in flight is finished, and what hangs is ended by force."""
        events, check = self.events, self.invariants.check
        end_s = self.scenario.end_s
        events.run_until(end_s, check)
        limit_s = end_s + _LONGEST_DRAIN_S
        while self.open and events.next_s <= limit_s:
            events.step()
            check()
        self.over = True
        events.now_s = max(events.now_s, end_s)
        if self.open:
            raise WeirError(
                f"{self.open} calls had not ended {_LONGEST_DRAIN_S:.0f} s after the last arrival"
            )
        self.cluster.settle()
        self.recorder.settle()
        self.invariants.finish()

    def _share_done(self) -> float:
        scenario = self.scenario
        span_s = scenario.end_s - scenario.start_s
        return (self.events.now_s - scenario.start_s) / span_s if span_s > 0.0 else 1.0

    def _calls(self) -> Iterator[Call]:
        scenario = self.scenario
        columns = scenario.columns
        names = (*columns.tenant_names, "")
        chains = scenario.chains
        for begin in range(0, len(columns), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            rows = zip(
                columns.timestamp_s[part].tolist(),
                columns.isl_tokens[part].tolist(),
                columns.osl_tokens[part].tolist(),
                scenario.class_index[part].tolist(),
                columns.tenant_codes[part].tolist(),
                strict=True,
            )
            for offset, (arrived_s, isl, osl, class_index, tenant) in enumerate(rows):
                id = begin + offset
                chain = chains[id] if chains else ()
                yield Call(id, arrived_s, isl, osl, class_index, names[tenant], chain)

    def _again(self, call: Call) -> None:
        if not call.ended:
            self.returning.discard(call.id)
            self.invariants.calls_changed = True
            self.gateway.arrive(call)

    def _limit_patience(self, call: Call) -> None:
        patience_s = self._clients.patience_s(self._client_rng)
        if patience_s < inf:
            self.events.after(patience_s, self._run_out, call)

    def _run_out(self, call: Call) -> None:
        """Its patience has: a client without a first token leaves."""
        if call.first_s is None and not call.ended:
            self.gateway.cancel(call)
