"""When a planner has heard of each router, for the invariants to know what it can know."""

from weir.domain.ids import RouterId
from weir.domain.telemetry import TrafficSample

__all__ = ["Heard"]


class Heard:
    """Times of the last sample: `any_s` of any, `newer_s` of one that was newer than all before."""

    def __init__(self) -> None:
        self.any_s: dict[RouterId, float] = {}
        self.newer_s: dict[RouterId, float] = {}
        self._newest: dict[RouterId, int] = {}

    def note(self, sample: TrafficSample, now_s: float) -> None:
        router_id = sample.router_id
        self.any_s[router_id] = now_s
        if sample.sequence > self._newest.get(router_id, -1):
            self._newest[router_id] = sample.sequence
            self.newer_s[router_id] = now_s
