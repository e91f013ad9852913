import aiohttp
from prometheus_client import CollectorRegistry, Counter

from weir.runtime.control import ControlServer


async def test_readiness_carries_its_reason_and_metrics_are_rendered() -> None:
    registry = CollectorRegistry()
    Counter("ticks", "Ticks.", registry=registry).inc()
    reason: list[str | None] = ["no members yet"]
    server = ControlServer("127.0.0.1", 0, lambda: reason[0], registry)
    port = await server.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            async with client.get("/livez") as answer:
                assert answer.status == 200
            async with client.get("/readyz") as answer:
                assert (answer.status, await answer.text()) == (503, "no members yet\n")
            reason[0] = None
            async with client.get("/readyz") as answer:
                assert answer.status == 200
            async with client.get("/metrics") as answer:
                assert "ticks_total 1.0" in await answer.text()
    finally:
        await server.close()
