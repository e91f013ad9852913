import aiohttp
from prometheus_client import CollectorRegistry, Counter

from weir.http1.messages import Request
from weir.runtime.control import ControlServer, Reply


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


async def test_other_paths_methods_and_failures_are_answered() -> None:
    async def fail(request: Request) -> Reply:
        raise RuntimeError("broken")

    async def echo(request: Request) -> Reply:
        return Reply(202, request.body, "application/json")

    routes = {("POST", "/echo"): echo, ("GET", "/fail"): fail}
    server = ControlServer("127.0.0.1", 0, lambda: None, CollectorRegistry(), routes=routes)
    port = await server.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            async with client.post("/echo", data=b"{}") as answer:
                assert (answer.status, await answer.read()) == (202, b"{}")
                assert answer.content_type == "application/json"
            async with client.get("/echo") as answer:
                assert (answer.status, answer.headers["allow"]) == (405, "POST")
            async with client.get("/nowhere") as answer:
                assert answer.status == 404
            async with client.get("/fail") as answer:
                assert answer.status == 500
            async with client.head("/livez") as answer:
                assert answer.status == 200
    finally:
        await server.close()
