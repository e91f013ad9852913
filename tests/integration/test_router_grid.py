"""`weir router --dynamo-config`: requests go to the pools of their cells.

In `router_disagg.json` prompts below 100 tokens with a TTFT target below 500 ms are prefilled by
`short-prefill`, and those with an ITL target below 30 ms decoded by `short-decode`. Without a
target a request has the middle one, 500 and 30 ms.
"""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from router.adapters.static import static_members
from tests.integration.frontend.world import Behaviour, Engine, Reply, answers, engine, whole
from tests.integration.ports import free_port
from tests.integration.router_world import PREFILLED, STREAMED, RouterWorld, router
from tests.integration.test_router_process import process
from weir.cli import gridded, main
from weir.cli.router import configure
from weir.runtime import lifecycle, logs

DATA = Path(__file__).resolve().parents[1] / "data" / "dynamo"
DISAGG = str(DATA / "router_disagg.json")
AGG = str(DATA / "router_agg.json")
FLEETS = Path(__file__).resolve().parents[2] / "examples" / "fleets"
STRICT = ("--worker", "strict=http://127.0.0.1:1")
BUSY = answers(whole(b"{}", b"503 Service Unavailable"))


@dataclass
class World:
    weir: RouterWorld
    engines: dict[str, Engine]

    async def ask(self, isl: int, headers: str = "", **fields: object) -> Reply:
        """A prompt of so many tokens, streamed."""
        body = {"model": "m", "prompt": [7] * isl, "max_tokens": 3, "stream": True} | fields
        client = await self.weir.connect()
        client.send(body, "/v1/completions", headers)
        reply = await client.reply()
        client.close()
        return reply

    def touched(self) -> list[str]:
        """The pools that got something since this was asked last."""
        found = [name for name, each in self.engines.items() if each.requests]
        for each in self.engines.values():
            each.requests.clear()
        return found


@asynccontextmanager
async def _world(
    file: str,
    engines: dict[str, Behaviour],
    *more: str,
    dead: str = "",
    as_process: bool = False,
) -> AsyncIterator[World]:
    """A router with one engine in each pool; nobody listens at that of `dead`."""
    async with AsyncExitStack() as stack:
        running = {
            name: await stack.enter_async_context(engine(behaviour, name))
            for name, behaviour in engines.items()
        }
        ports = {name: each.worker.port for name, each in running.items()}
        if dead:
            ports[dead] = free_port()
        workers = [f"--worker={name}=http://127.0.0.1:{port}" for name, port in ports.items()]
        arguments = ("--model", "m", "--dynamo-config", file, *workers, *more)
        weir = process(*arguments) if as_process else _in_here(arguments)
        yield World(await stack.enter_async_context(weir), running)


def _in_here(arguments: Sequence[str]) -> AbstractAsyncContextManager[RouterWorld]:
    parser = argparse.ArgumentParser()
    configure(parser)
    args = parser.parse_args(arguments)
    found = gridded.of(args, None)
    assert found is not None
    workers = static_members(args.workers, found.fleet)
    return router(fleet=found.fleet, grid=found.grid, grid_source=found.source, workers=workers)


def _pairs(**changed: Behaviour) -> dict[str, Behaviour]:
    prefills = {"short-prefill": PREFILLED, "long-prefill": PREFILLED}
    behaviours = prefills | {"short-decode": STREAMED, "long-decode": STREAMED}
    return behaviours | {name.replace("_", "-"): each for name, each in changed.items()}


async def test_both_legs_of_a_request_go_to_the_pools_of_its_cell() -> None:
    tight = "x-slo-ttft-ms: 200\r\nx-slo-tpot-ms: 20\r\n"
    async with _world(DISAGG, _pairs(), as_process=True) as world:
        for isl, headers, expected in (
            (99, tight, ["short-prefill", "short-decode"]),
            (100, tight, ["long-prefill", "long-decode"]),
            (9999, tight, ["long-prefill", "long-decode"]),
            (99, "", ["long-prefill", "long-decode"]),
            (99, "x-slo-ttft-ms: 499.9\r\n", ["short-prefill", "long-decode"]),
            (99, "x-slo-ttft-ms: 500\r\n", ["long-prefill", "long-decode"]),
            (99, "x-slo-tpot-ms: 29\r\n", ["long-prefill", "short-decode"]),
        ):
            assert (await world.ask(isl, headers)).status == 200
            assert world.touched() == expected, (isl, headers)
        metrics = (await world.weir.get("/metrics")).body.decode().splitlines()
        assert 'weir_router_routes_total{reason="cell"} 7.0' in metrics


async def test_a_default_target_counts_for_requests_without_one() -> None:
    targets = ("--default-ttft-target-ms", "100", "--default-itl-target-ms", "10")
    async with _world(DISAGG, _pairs(), *targets) as world:
        await world.ask(99)
        assert world.touched() == ["short-prefill", "short-decode"]


async def test_an_override_goes_before_the_cell() -> None:
    """A body's priority is as in vLLM: the lower, the sooner. A grid has it the other way round."""
    async with _world(DISAGG, _pairs()) as world:
        await world.ask(100, priority=-10)
        assert world.touched() == ["short-prefill", "long-decode"]
        await world.ask(100, priority=-9)
        assert world.touched() == ["long-prefill", "long-decode"]


async def test_a_pool_that_fails_is_followed_by_the_next_faster_one() -> None:
    async with _world(DISAGG, _pairs(long_prefill=BUSY)) as world:
        assert (await world.ask(100)).status == 200
        assert world.touched() == ["short-prefill", "long-prefill", "long-decode"]
    behaviours = _pairs()
    del behaviours["long-decode"]
    async with _world(DISAGG, behaviours, dead="long-decode") as world:
        assert (await world.ask(100)).status == 200
        assert world.touched() == ["long-prefill", "short-decode"]


async def test_the_fastest_pool_has_nobody_behind_it() -> None:
    async with _world(DISAGG, _pairs(short_prefill=BUSY)) as world:
        assert (await world.ask(99, "x-slo-ttft-ms: 100\r\n")).status == 503
        assert world.touched() == ["short-prefill"]


async def test_an_aggregated_pool_gets_the_whole_request() -> None:
    async with _world(AGG, {"strict": STREAMED, "loose": STREAMED}) as world:
        for headers, expected in (
            ("", "loose"),  # 500 and 30 ms
            ("x-slo-ttft-ms: 499\r\n", "strict"),
            ("x-slo-ttft-ms: 5000\r\nx-slo-tpot-ms: 29\r\n", "strict"),
            ("x-slo-ttft-ms: 5000\r\nx-slo-tpot-ms: 5000\r\n", "loose"),
        ):
            assert (await world.ask(10, headers)).status == 200
            assert world.touched() == [expected], headers


def test_what_the_file_has_in_vain_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    document = json.loads((DATA / "router_agg.json").read_text()) | {"extra": True}
    path = tmp_path / "grid.json"
    path.write_text(json.dumps(document))
    monkeypatch.setattr(logs, "setup", lambda role: None)
    monkeypatch.setattr(lifecycle, "run", lambda main: 0)
    assert main(["router", "--dynamo-config", str(path), "--model", "m", *STRICT]) == 0
    (warning,) = [each.getMessage() for each in caplog.records]
    assert warning == (
        f"{path}: extra: no key of a GlobalRouter here; not read; "
        "loose: no --worker loose=URL, so its requests wait in vain"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dynamo-config", AGG], "--model NAME"),
        (["--dynamo-config", AGG, "--model", "m", "--worker", "http://x:1"], "strict, loose"),
        (["--dynamo-config", "/no.json", "--model", "m", "--worker", "a=http://x:1"], "/no.json"),
        (
            ["--model", "m", "--worker", "http://x:1", "--default-ttft-target-ms", "5"],
            "are for a grid",
        ),
        (
            ["--dynamo-config", AGG, "--fleet", str(FLEETS / "disagg.yaml"), "--nats", "nats://x"],
            "'strict' is no agg pool of the fleet",
        ),
    ],
)
def test_bad_usage_is_exit_2_with_what_to_mend(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["router", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error


async def test_a_changed_file_counts_and_one_that_cannot_be_used_does_not(tmp_path: Path) -> None:
    file = tmp_path / "grid.json"
    grid = json.loads(Path(DISAGG).read_text())
    file.write_text(json.dumps(grid))

    async def metric(world: World, line: str) -> None:
        async with asyncio.timeout(20.0):
            while line not in (await world.weir.get("/metrics")).body.decode():
                await asyncio.sleep(0.1)

    async with _world(str(file), _pairs()) as world:
        await world.ask(9999)
        assert world.touched() == ["long-prefill", "long-decode"]
        mapping = grid["prefill_pool_selection_strategy"]["prefill_pool_mapping"]
        mapping[:] = [[0 for _ in row] for row in mapping]
        file.write_text(json.dumps(grid))
        await metric(world, 'weir_router_grid_reloads_total{outcome="taken"} 1.0')
        await world.ask(9999)
        assert world.touched() == ["short-prefill", "long-decode"]
        file.write_text("{")
        await metric(world, 'weir_router_grid_reloads_total{outcome="refused"} 1.0')
        await world.ask(9999)
        assert world.touched() == ["short-prefill", "long-decode"]
