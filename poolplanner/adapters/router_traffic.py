"""Asks routers for their traffic samples over gRPC, where no NATS carries them."""

import asyncio
from collections.abc import Sequence

import grpc

from poolplanner.adapters.rpc import failure
from poolplanner.ports import TrafficSink
from poolplanner.troubles import Troubles
from weir import codec
from weir.api.v1 import router_pb2, router_pb2_grpc
from weir.domain.errors import UnavailableError, WeirError
from weir.runtime import rpc
from weir.runtime.clock import Clock

__all__ = ["RouterTraffic"]

_EVERY_S = 1.0
_TIMEOUT_S = 1.0
_WHAT = "ask for traffic"


class RouterTraffic:
    """All of a fleet's routers, by address; each knows only what went through it."""

    def __init__(
        self, targets: Sequence[str], sink: TrafficSink, clock: Clock, troubles: Troubles
    ) -> None:
        self._channels = {target: rpc.channel(target) for target in targets}
        self._known = dict.fromkeys(targets, 0)
        self._sink = sink
        self._clock = clock
        self._troubles = troubles

    async def run(self) -> None:
        """Ask once a wall second, for ever. Who does not answer says nothing."""
        while True:
            began_s = self._clock.wall_s()
            answers = await asyncio.gather(*map(self._ask, self._channels))
            errors = [error for error in answers if error is not None]
            if errors:
                self._troubles.failed("telemetry", errors[0])
            else:
                self._troubles.recovered("telemetry")
            await asyncio.sleep(max(0.0, _EVERY_S - (self._clock.wall_s() - began_s)))

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()

    async def _ask(self, target: str) -> WeirError | None:
        stub = router_pb2_grpc.RouterStub(self._channels[target])  # type: ignore[no-untyped-call]
        request = router_pb2.TrafficRequest(after_sequence=self._known[target])
        try:
            answer = await stub.Traffic(request, timeout=_TIMEOUT_S)
            samples = [codec.decode_traffic(message) for message in answer.samples]
        except grpc.aio.AioRpcError as error:
            return failure(_WHAT, target, error)
        except ValueError as error:
            return UnavailableError(f"{_WHAT} at {target}: bad answer: {error}")
        for sample in samples:
            self._sink.on_traffic(sample, self._clock.now_s())
        if samples:
            self._known[target] = samples[-1].sequence
        return None
