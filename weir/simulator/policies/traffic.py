"""The traffic of each pool as a router in front of it would count it."""

from typing import TYPE_CHECKING

from weir.domain.ids import PoolId
from weir.simulator.call import Call, End
from weir.simulator.policies.seen import Traffic

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["TrafficMeter"]


class _Counter:
    __slots__ = Traffic._fields

    def __init__(self) -> None:
        self.arrivals = self.isl_tokens = self.completed = self.osl_tokens = self.spread = 0
        self.ttft_s = self.itl_s = 0.0

    def ended(self, call: Call, ttft_s: float, decode_s: float) -> None:
        gaps = call.osl_tokens - 1
        self.completed += 1
        self.osl_tokens += call.osl_tokens
        self.ttft_s += ttft_s
        if gaps:
            self.spread += 1
            self.itl_s += decode_s / gaps

    def traffic(self) -> Traffic:
        return Traffic(*(getattr(self, name) for name in Traffic._fields))


class TrafficMeter:
    """Costs a little for every call, so only policies that need it have one."""

    def __init__(self, world: "World") -> None:
        self._events = world.events
        self._counters = {spec.id: _Counter() for spec in world.fleet.pools}

    def arrived(self, pool_id: PoolId, call: Call) -> None:
        """A leg of the call has come to this pool."""
        counter = self._counters[pool_id]
        counter.arrivals += 1
        counter.isl_tokens += call.isl_tokens

    def ended(self, call: Call, end: End) -> None:
        """For `World.on_end`."""
        if end is not End.COMPLETED or call.first_s is None or call.decode is None:
            return
        ttft_s = call.first_s - call.arrived_s
        decode_s = self._events.now_s - call.first_s
        self._counters[call.decode.pool_id].ended(call, ttft_s, decode_s)
        if call.prefill is not None and call.prefill is not call.decode:
            self._counters[call.prefill.pool_id].ended(call, ttft_s, decode_s)

    def take(self) -> dict[PoolId, Traffic]:
        """What has been counted since this was last asked."""
        taken = {pool_id: counter.traffic() for pool_id, counter in self._counters.items()}
        self._counters = {pool_id: _Counter() for pool_id in taken}
        return taken
