"""Forward-pass metrics: what the iterations did since the last sample, published on NATS."""

import asyncio
import logging
import sys

from weir.domain.telemetry import ForwardPassSample
from weir.engine.model import EngineModel
from weir.mocker.metrics import MockerMetrics
from weir.mocker.settings import MockerSettings, NatsSettings

__all__ = ["ForwardPassMeter", "publish"]

_log = logging.getLogger("weir.mocker")
_PERIOD_WALL_S = 1.0


class ForwardPassMeter:
    """Turns running totals into samples of windows."""

    def __init__(
        self, engine: EngineModel, metrics: MockerMetrics, settings: MockerSettings
    ) -> None:
        self._engine = engine
        self._metrics = metrics
        self._pool = settings.pool
        self._worker = settings.worker
        self._sequence = 0
        self._at_s = settings.clock.now_s()
        self._seen = self._totals()

    def sample(self, now_s: float) -> ForwardPassSample:
        """The window since the last sample, and the engine as it is now."""
        seen, self._seen = self._seen, self._totals()
        busy_s, *counts = (new - old for new, old in zip(self._seen, seen, strict=True))
        iterations, prefill, decode, preemptions, completed, prefills, cached = map(int, counts)
        window_s = max(0.0, now_s - self._at_s)
        self._at_s = now_s
        self._sequence += 1
        engine = self._engine
        return ForwardPassSample(
            pool_id=self._pool,
            worker_id=self._worker,
            sequence=self._sequence,
            window_s=window_s,
            iterations=iterations,
            busy_s=max(0.0, busy_s),
            prefill_tokens=prefill,
            decode_tokens=decode,
            running=engine.running,
            waiting=engine.waiting,
            waiting_tokens=engine.pending_tokens,
            kv_used_tokens=engine.kv_used_tokens,
            kv_total_tokens=engine.kv_total_tokens,
            preemptions=preemptions,
            completed=completed,
            cached_tokens=cached,
            prefill_iterations=prefills,
        )

    def _totals(self) -> tuple[float, int, int, int, int, int, int, int]:
        """Running totals of the iterations that are over."""
        metrics = self._metrics
        completed = metrics.finished["stop"] + metrics.finished["length"]
        return (
            metrics.busy_s,
            metrics.iterations,
            metrics.prefill_tokens,
            metrics.decode_tokens,
            self._engine.preemptions,
            completed,
            self._engine.prefill_iterations,
            self._engine.prefix_hit_tokens,
        )


async def publish(meter: ForwardPassMeter, settings: MockerSettings, nats: NatsSettings) -> None:
    """Send a sample each wall second, for ever."""
    _import_bus()
    from weir.codec import encode_forward_pass
    from weir.runtime.bus import Bus
    from weir.runtime.names import fpm_subject

    bus = await Bus.connect(nats.url, name=settings.worker)
    subject = fpm_subject(nats.fleet, settings.pool, settings.worker)
    try:
        while True:
            await asyncio.sleep(_PERIOD_WALL_S)
            sample = meter.sample(settings.clock.now_s())
            bus.publish(subject, encode_forward_pass(sample).SerializeToString())
    except Exception:
        _log.exception("forward-pass metrics are no longer published")
    finally:
        await bus.close()


def _import_bus() -> None:
    """Import the NATS client without aiohttp, which it takes for WebSockets only.

    That is two thirds of the import, and many of these processes start at once.
    """
    if "nats" in sys.modules or "aiohttp" in sys.modules:
        return
    sys.modules["aiohttp"] = None  # type: ignore[assignment]
    try:
        import weir.runtime.bus  # noqa: F401
    finally:
        del sys.modules["aiohttp"]
