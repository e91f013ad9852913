"""Stands beside one engine and publishes what it does, one sample a wall second."""

import logging
import time
from dataclasses import dataclass

import aiohttp

from poolplanner.adapters.scrape import EnginePage
from weir import codec
from weir.domain.errors import FleetError, UnavailableError
from weir.domain.ids import PoolId, WorkerId
from weir.fleet import LoadedFleet
from weir.runtime import names
from weir.runtime.bus import Bus
from weir.runtime.clock import Clock
from weir.runtime.lifecycle import Stop

__all__ = ["EngineMeter", "run"]

_log = logging.getLogger("weir.enginemeter")
_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineMeter:
    """Which engine it is, and where it shows its metrics."""

    pool: str
    worker: str
    url: str
    nats: str


async def run(meter: EngineMeter, loaded: LoadedFleet, clock: Clock, stop: Stop) -> None:
    """Publish until `stop`. While the engine does not answer there is nothing to say.

    Raises `FleetError` if the fleet has no such pool.
    """
    if meter.pool not in {pool.id for pool in loaded.fleet.pools}:
        raise FleetError(str(loaded.path), [f"there is no pool {meter.pool!r}"])
    pool_id, worker_id = PoolId(meter.pool), WorkerId(meter.worker)
    subject = names.fpm_subject(loaded.fleet.name, pool_id, worker_id)
    bus = await Bus.connect(meter.nats, name=f"engine-meter {worker_id}")
    try:
        async with aiohttp.ClientSession() as session:
            started_ms = time.time_ns() // 1_000_000
            page = EnginePage(session, meter.url, pool_id, worker_id, sequence=started_ms)
            await _publish(page, bus, subject, clock, stop)
    finally:
        await bus.close()


async def _publish(page: EnginePage, bus: Bus, subject: str, clock: Clock, stop: Stop) -> None:
    trouble: str | None = None
    while not stop.requested:
        began_s = clock.wall_s()
        try:
            sample = await page.look(clock)
        except UnavailableError as error:
            if trouble != (trouble := str(error)):
                _log.warning("%s", error)
        else:
            if trouble is not None:
                _log.info("%s answers again", page.url)
            trouble = None
            bus.publish(subject, codec.encode_forward_pass(sample).SerializeToString())
        await stop.sleep(max(0.0, _EVERY_S - (clock.wall_s() - began_s)))
