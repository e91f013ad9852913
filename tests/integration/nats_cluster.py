"""A real NATS cluster of three nodes with JetStream, whose nodes tests kill, freeze and start."""

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.integration.ports import free_port
from weir.runtime.nats_server import server_command

__all__ = ["Cluster", "Node"]

_HOST = "127.0.0.1"
_HEALTHY_WITHIN_S = 60.0


class Node:
    """One nats-server of a cluster. Its ports, name and store stay the same when it restarts."""

    def __init__(self, name: str, ports: tuple[int, int, int], store: Path) -> None:
        self.name = name
        self.port, self.route_port, self._monitor_port = ports
        self.url = f"nats://{_HOST}:{self.port}"
        self.frozen = False
        self._store = store
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def answers(self) -> bool:
        return self._process is not None and not self.frozen

    def start(self, route_ports: list[int]) -> None:
        routes = ",".join(f"nats://{_HOST}:{port}" for port in route_ports)
        self._process = subprocess.Popen(
            [
                *server_command(self.port, self._store),
                *("--server_name", self.name, "-m", str(self._monitor_port)),
                *("--cluster_name", "test", "--cluster", f"nats://{_HOST}:{self.route_port}"),
                *("--routes", routes),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait(5.0)
            self._process = None
            self.frozen = False

    def freeze(self) -> None:
        """Stop answering without closing a connection, as on a partition."""
        pid = self._signal(signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)  # its threads stop one after the other
        self.frozen = True

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)
        self.frozen = False

    def monitor(self, path: str) -> Any:
        """What the node's monitoring says; None while it does not answer."""
        try:
            url = f"http://{_HOST}:{self._monitor_port}/{path}"
            with urllib.request.urlopen(url, timeout=1.0) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return None

    def _signal(self, number: signal.Signals) -> int:
        if self._process is None:
            raise RuntimeError(f"{self.name} does not run")
        os.kill(self._process.pid, number)
        return self._process.pid


class Cluster:
    """Three nodes, by name. All calls block, for a few milliseconds unless they say more.

    A test whose own tasks must go on meanwhile calls the longer ones by `asyncio.to_thread`.
    """

    def __init__(self, folder: Path) -> None:
        self.nodes = {
            name: Node(name, (free_port(), free_port(), free_port()), folder / name)
            for name in ("n1", "n2", "n3")
        }

    @classmethod
    def running(cls, folder: Path) -> Iterator["Cluster"]:
        """For a fixture: started, then killed whatever the test has done."""
        cluster = cls(folder)
        with ExitStack() as ending:
            for node in cluster.nodes.values():
                ending.callback(node.kill)
            for name in cluster.nodes:
                cluster.restart(name)
            cluster.until_healthy()
            yield cluster

    @property
    def urls(self) -> str:
        """All nodes, as `--nats` takes them."""
        return ",".join(node.url for node in self.nodes.values())

    def url(self, name: str) -> str:
        return self.nodes[name].url

    def others(self, *names: str) -> list[str]:
        return [name for name in self.nodes if name not in names]

    def kill(self, name: str) -> None:
        """SIGKILL: nothing is handed over, and clients see their connection closed."""
        self.nodes[name].kill()

    def restart(self, name: str) -> None:
        """Start a killed node on its old ports and store; returns before it is healthy."""
        self.nodes[name].start([node.route_port for node in self.nodes.values()])

    def freeze(self, name: str) -> None:
        self.nodes[name].freeze()

    def thaw(self, name: str) -> None:
        self.nodes[name].thaw()

    def mend(self) -> None:
        """Thaw and start what a test has left frozen or killed, and wait for it."""
        for name, node in self.nodes.items():
            if node.frozen:
                self.thaw(name)
            elif not node.answers:
                self.restart(name)
        self.until_healthy()

    def until_healthy(self, timeout_s: float = _HEALTHY_WITHIN_S) -> None:
        """Wait, seconds, until every running node has JetStream and has caught up."""
        _until(
            lambda: all(
                (node.monitor("healthz") or {}).get("status") == "ok"
                for node in self.nodes.values()
                if node.answers
            ),
            timeout_s,
        )

    def stream_leader(self, stream: str) -> str | None:
        """The node that says it leads `stream` (`KV_<bucket>` of a bucket); None if none does."""
        for name, node in self.nodes.items():
            if node.answers and name == _leader(node.monitor("jsz?streams=1"), stream):
                return name
        return None

    def node_of(self, client: str) -> str | None:
        """The node that a client of this name is connected to."""
        for name, node in self.nodes.items():
            if node.answers:
                connections = (node.monitor("connz") or {}).get("connections", ())
                if any(connection.get("name") == client for connection in connections):
                    return name
        return None

    def until_led(self, stream: str, timeout_s: float = _HEALTHY_WITHIN_S) -> str:
        """Wait for `stream` to have a leader, and say which node it is."""
        _until(lambda: self.stream_leader(stream) is not None, timeout_s)
        leader = self.stream_leader(stream)
        assert leader is not None
        return leader


def _leader(jsz: Any, stream: str) -> str | None:
    for account in (jsz or {}).get("account_details", ()):
        for detail in account.get("stream_detail", ()):
            if detail["name"] == stream:
                return (detail.get("cluster") or {}).get("leader")
    return None


def _until(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the cluster is not there after {timeout_s:g} s")
        time.sleep(0.05)
