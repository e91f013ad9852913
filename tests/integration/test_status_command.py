"""`weir status` as a process against a real GlobalPlanner edge."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.integration.edge_world import EdgeWorld, client, digest, report_of
from weir.local.ports import Ports


@pytest.fixture
def world() -> EdgeWorld:
    return EdgeWorld()


async def status(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "weir", "status", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60.0):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_it_shows_the_one_that_leads(world: EdgeWorld) -> None:
    other = EdgeWorld()
    other.planner.yield_to("it waits")
    async with world.serving() as leader, other.serving() as standby:
        async with client(leader) as caller:
            await caller.call("Report", report_of("a", 1))
        planners = f"127.0.0.1:{standby.port},127.0.0.1:{leader.port}"
        code, out, err = await status("--planner", planners)
        assert (code, err) == (0, "")
        assert "leads in term 7" in out
        code, out, _ = await status("--planner", planners, "--json")
        shown = json.loads(out)
        assert shown["status"]["pools"][0]["state"]["ready"] == 1
        assert shown["health"]["leading"]
        code, out, _ = await status("--planner", f"127.0.0.1:{standby.port}")
        assert (code, "does not lead: it waits" in out) == (0, True)


async def test_nobody_there_is_1_and_a_refusal_is_2(world: EdgeWorld, tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{Ports().take()}"
    code, out, err = await status("--planner", nobody)
    assert (code, out) == (1, "")
    assert err.startswith(f"weir status: no answer from the GlobalPlanner at {nobody}: ")
    identities, token = tmp_path / "identities.yaml", tmp_path / "token"
    identities.write_text(f"- {{name: a, token_sha256: {digest('right')}}}\n")
    async with world.serving(identities=str(identities)) as edge:
        arguments = ("--planner", f"127.0.0.1:{edge.port}", "--token-file", str(token))
        token.write_text("wrong")
        code, out, err = await status(*arguments)
        assert (code, out) == (2, "")
        assert "unauthenticated: this token is not known here" in err
        assert "wrong" not in err
        token.write_text("right")
        assert (await status(*arguments))[0] == 0


async def test_watching_goes_on_until_it_is_interrupted(world: EdgeWorld) -> None:
    async with world.serving() as edge:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "weir", "status", "--json", "--watch", "0.1"),
            *("--planner", f"127.0.0.1:{edge.port}"),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async with asyncio.timeout(60.0):
            for _ in range(3):
                assert json.loads(await process.stdout.readline())["status"]["leading"]
            process.send_signal(2)
            assert await process.wait() == 0
