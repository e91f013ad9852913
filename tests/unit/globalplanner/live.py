"""A GlobalPlanner that leads, with its operations, and a store that may be away."""

from collections.abc import Mapping, Sequence
from typing import Any

from globalplanner.core.arbiter.snapshot import Rules
from globalplanner.core.operators.effective import effective
from globalplanner.core.operators.proposals import Gate, Mode
from globalplanner.metrics import Metrics
from globalplanner.operations import Operations
from globalplanner.service import GlobalPlanner, Patience
from tests.unit.globalplanner.fleets import CHAT, report
from weir.domain.fleet import Fleet
from weir.domain.ids import PoolId, RouterId
from weir.domain.overrides import Overrides
from weir.domain.planning import Grant
from weir.domain.record import LedgerRecord
from weir.domain.telemetry import ClassTraffic, TrafficSample
from weir.runtime.clock import Clock

__all__ = ["Live"]

_PATIENCE = Patience(interval_s=2.0, stale_s=15.0, grant_valid_s=15.0, silent_s=15.0)


class HandClock(Clock):
    """Wall and model time are the same and move by hand; the calendar is at the epoch."""

    time_s = 100.0

    def now_s(self) -> float:
        return self.time_s

    def wall_s(self) -> float:  # type: ignore[override]
        return self.time_s

    def unix_s(self) -> float:  # type: ignore[override]
        return self.time_s


class Live:
    """`stores` False: the record is not written. Pools run what they are granted at once."""

    def __init__(
        self,
        document: Fleet,
        *,
        mode: Mode = Mode.ACT,
        record: LedgerRecord | None = None,
        dwell_s: float = 10.0,
    ) -> None:
        HandClock.time_s = 100.0
        self.clock = HandClock()
        self.stores = True
        self.capacity_rps = {CHAT: 5.0}
        self.gate = Gate(mode)
        self.metrics = Metrics(pool.id for pool in document.pools)
        self.planner = GlobalPlanner(
            document,
            Rules(scale_down_dwell_s=dwell_s),
            _PATIENCE,
            self.clock,
            self.metrics,
            may_grow=lambda: True,
            unwritten=self.write,
            effective=lambda fleet, overrides: effective(fleet, overrides, self.clock.unix_s()),
            gate=self.gate,
        )
        self.operations = Operations(self.planner, self.gate, self.clock.unix_s)
        self.sequence = 0
        self.acted: dict[PoolId, Grant] = {}
        term = record.term + 1 if record else 1
        self.planner.lead(self.planner.prepare(term, record, owner="me"))

    def write(self) -> None:
        if self.stores and self.planner.term:
            self.planner.written(self.record, self.planner.epoch)

    @property
    def record(self) -> LedgerRecord:
        return self.planner.record(owner="me", serial=1)

    @property
    def overrides(self) -> Overrides:
        return self.planner.overrides

    @property
    def targets(self) -> Mapping[str, int]:
        """What is aimed for."""
        ledger = self.planner.ledger
        assert ledger is not None
        return {str(id): account.target for id, account in sorted(ledger.accounts.items())}

    def run(self, seconds: int, *, rps: int = 0, **held: int) -> None:
        """Second by second. `held`: pools that hold so many, whatever they are granted."""
        for _ in range(seconds):
            HandClock.time_s += 1.0
            second = int(HandClock.time_s)
            traffic = ClassTraffic(
                name=CHAT,
                arrivals=rps,
                isl_tokens=rps * 1000,
                completed=rps,
                osl_tokens=rps * 200,
            )
            sample = TrafficSample(
                router_id=RouterId("r"), sequence=second, window_s=1.0, classes=(traffic,)
            )
            self.planner.on_traffic(sample)
            self._report(held)
            if second % 2 == 0:
                self.planner.decide()

    def _report(self, held: Mapping[str, int]) -> None:
        ledger = self.planner.ledger
        assert ledger is not None
        for id in list(ledger.accounts):
            for _ in range(2):  # hear, then act
                grant = self.acted.get(id)
                named: Sequence[Any] = (
                    (grant.term, grant.epoch, grant.replicas) if grant else (0, 0, 0)
                )
                self.sequence += 1
                ready = held.get(str(id), grant.replicas if grant else 0)
                if id in ledger.accounts:
                    message = report(
                        str(id),
                        self.sequence,
                        ready=ready,
                        acted=tuple(named),
                        capacity_rps=self.capacity_rps,
                    )
                    self.planner.report(message)
                found = self.planner.grant_of(id)
                if found is not None:
                    self.acted[id] = found
