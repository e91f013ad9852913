"""Processes as an operator starts them: TLS, certificates for pools, a token for the operator."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.integration.edge_world import digest
from tests.integration.nats_process import Server
from tests.integration.pki import Pair, Pki
from weir.local.ports import Ports

pytestmark = pytest.mark.needs("openssl")

FLEET = """\
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: sea}
spec:
  models: [{name: m}]
  classes: [{name: chat, ttft_ms: 5000, itl_ms: 100}]
  budget: {gpus: 4}
  pools:
    - {name: a, role: agg, model: m, min_replicas: 1, max_replicas: 1, scaling: {kind: none}}
    - {name: b, role: agg, model: m, min_replicas: 1, max_replicas: 1, scaling: {kind: none}}
  planner: {interval_s: 0.2}
"""


class Sea:
    """Files and addresses of a fleet whose GlobalPlanner is not open to everybody."""

    def __init__(self, folder: Path, nats: Server) -> None:
        self.folder = folder
        self.nats = nats
        self.target = f"127.0.0.1:{Ports().take()}"
        self.fleet = self._write("fleet.yaml", FLEET)
        self.pki = Pki(folder)
        self.token = self._write("ops.token", "operator-token\n")
        self.identities = self._write(
            "identities.yaml",
            "- {name: planner-a, subject: planner-a, pools: [a]}\n"
            "- {name: planner-b, subject: planner-b, pools: [b]}\n"
            f"- {{name: ops, token_sha256: {digest('operator-token')}, operator: true}}\n",
        )

    def global_planner(self) -> list[str]:
        server = self.pki.pair("server", san="IP:127.0.0.1")
        return [
            *("global-planner", "--fleet", str(self.fleet), "--nats", self.nats.url),
            *("--listen", self.target, "--identities", str(self.identities)),
            *("--tls-cert", str(server.cert), "--tls-key", str(server.key)),
            *("--client-ca", str(self.pki.ca)),
        ]

    def pool_planner(self, pool: str, certificate: Pair) -> list[str]:
        return [
            *("pool-planner", "--fleet", str(self.fleet), "--nats", self.nats.url),
            *("--pool", pool, "--global-planner", self.target),
            *self._shown(certificate),
        ]

    async def ask(self, *command: str, certificate: Pair, token: bool = True) -> tuple[int, str]:
        """Exit code, and stdout and stderr together."""
        arguments = ["--planner", self.target, *self._shown(certificate)]
        arguments += ["--token-file", str(self.token)] if token else []
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "weir", *command, *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(60.0):
            out, _ = await process.communicate()
        return process.returncode or 0, out.decode()

    def _shown(self, certificate: Pair) -> list[str]:
        return [
            *("--ca", str(self.pki.ca)),
            *("--cert", str(certificate.cert), "--key", str(certificate.key)),
        ]

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path


@asynccontextmanager
async def running(arguments: list[str], log: Path) -> AsyncIterator[None]:
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "weir", *arguments, stderr=file
        )
    try:
        yield
    finally:
        process.terminate()
        async with asyncio.timeout(30.0):
            assert await process.wait() == 0


async def test_pools_are_known_by_certificate_and_operators_by_token(
    tmp_path: Path, nats: Server
) -> None:
    sea = Sea(tmp_path, nats)
    a = sea.pki.pair("a", san="DNS:planner-a")
    logs = {name: tmp_path / f"{name}.log" for name in ("global", "a", "b")}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(sea.global_planner(), logs["global"]))
        await stack.enter_async_context(running(sea.pool_planner("a", a), logs["a"]))
        await stack.enter_async_context(running(sea.pool_planner("b", a), logs["b"]))
        async with asyncio.timeout(60.0):
            while True:
                code, out = await sea.ask("status", "--json", certificate=a)
                pools = json.loads(out)["status"]["pools"] if code == 0 else []
                if pools and pools[0]["granted_replicas"] == 1:
                    break
        assert pools[0]["state"] == {"ready": 1, "starting": 0, "terminating": 0}
        assert pools[1]["state"] is None
        async with asyncio.timeout(30.0):
            for name in ("b", "global"):
                while "planner-a may not report for pool 'b'" not in logs[name].read_text():
                    await asyncio.sleep(0.05)
        code, out = await sea.ask("budget", "3", certificate=a, token=False)
        assert (code, "planner-a is not an operator" in out) == (2, True)
        code, out = await sea.ask("budget", "3", certificate=a)
        assert code == 0, out
        code, out = await sea.ask("status", certificate=a)
        assert "budget: 3 GPUs" in out
    assert "operator-token" not in "".join(log.read_text() for log in logs.values())
    assert "Traceback" not in "".join(log.read_text() for log in logs.values())
