"""What stands between clients and engines: weir and its peers, each as processes on one core."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from weir.local.ports import Ports

__all__ = ["Peer", "fetch", "nginx", "sglang_router", "weir", "weir_two_legs"]

_ROOT = Path(__file__).parents[2]
_PEERS = _ROOT / ".peers"
"""Where `tools/peers.sh` puts them."""
_NGINX_PROGRAM = _PEERS / "nginx/usr/sbin/nginx"
_SGLANG_PROGRAM = _PEERS / "venv/bin/sglang-router"
_FETCH_S = 600.0
_DEADLINE_S = 120.0
_PORTS = Ports()

_FLEET = """
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: bench}
spec:
  models: [{name: m}]
  classes: [{name: all, ttft_ms: 2000, itl_ms: 50}]
  budget: {gpus: 16}
  profiles:
    engine:
      timing:
        kind: polynomial
        prefill_s: [0, 3.3333e-5]
        decode_s: [0.010]
        decode_per_sequence_s: 0.1e-3
      kv_tokens: 1000000
      max_sequences: 256
      max_batched_tokens: 16384
  pools:
    - {name: prefill, role: prefill, model: m, profile: engine, max_replicas: 8,
       context_limit_tokens: 65536}
    - {name: decode, role: decode, model: m, profile: engine, max_replicas: 8,
       context_limit_tokens: 65536}
"""

_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000;
  client_body_buffer_size 64k;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream engines {{
    {servers}
    keepalive 1024;
    keepalive_requests 1000000;
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://engines;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 1h;
    }}
  }}
}}
"""


class Peer:
    """A running peer on `cpu`. `paths`: where its Python modules are, if not where ours are."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        port: int,
        cpu: int,
        folder: Path,
        paths: Path | None = None,
    ) -> None:
        self.name = name
        self.port = port
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as log:
            self._process = psutil.Popen(
                list(command),
                cwd=_ROOT if paths is None else folder,
                env=os.environ if paths is None else {**os.environ, "PYTHONPATH": str(paths)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
            )
        self._ran_s: dict[tuple[int, int], float] = {}

    def until_listening(self) -> None:
        """Raises `RuntimeError` with what it has logged if it does not come up."""
        deadline = time.monotonic() + _DEADLINE_S
        while self._process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        self.close()
        raise RuntimeError(f"{self.name} does not listen:\n{self._log.read_text()[-2000:]}")

    def cpu_s(self) -> float:
        """So far, to the nanosecond, as the scheduler counts it; threads that ended included."""
        for process in (self._process, *self._process.children(recursive=True)):
            for task in Path(f"/proc/{process.pid}/task").iterdir():
                try:
                    ran_ns = int((task / "schedstat").read_text().split()[0])
                except (FileNotFoundError, ProcessLookupError):
                    continue
                self._ran_s[process.pid, int(task.name)] = ran_ns / 1e9
        return sum(self._ran_s.values())

    def rss_bytes(self) -> int:
        """Of all of its processes together."""
        processes = (self._process, *self._process.children(recursive=True))
        return sum(process.memory_info().rss for process in processes)

    def close(self) -> None:
        """End it and what it has started, if it still runs."""
        if self._process.poll() is not None:
            return
        processes = [*self._process.children(recursive=True), self._process]
        for process in processes:
            process.terminate()
        _, alive = psutil.wait_procs(processes, timeout=5.0)
        for process in alive:
            process.kill()


def fetch() -> None:
    """Get the peers that are not here, as `make peers` does; what cannot be had stays away."""
    if _program(_NGINX_PROGRAM, "nginx") and _program(_SGLANG_PROGRAM, "sglang-router"):
        return
    print("getting nginx and sglang_router into .peers", file=sys.stderr)
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(["sh", "tools/peers.sh"], cwd=_ROOT, timeout=_FETCH_S, check=False)


def weir(engine_ports: Sequence[int], cpu: int, folder: Path, name: str, tree: Path | None) -> Peer:
    """`weir router` as it is without any option, in front of one pool.

    `tree`: where its modules are, if not where ours are.
    """
    port = _PORTS.take()
    command = [sys.executable, "-m", "weir", "router", "--listen", f"127.0.0.1:{port}"]
    command += ["--model", "m", *_workers(engine_ports)]
    return Peer(name, command, port, cpu, folder, tree)


def weir_two_legs(
    engine_ports: Sequence[int], cpu: int, folder: Path, name: str, tree: Path | None
) -> Peer:
    """The same in front of a prefill and a decode pool, which share the engines between them."""
    fleet = folder / "fleet.yaml"
    fleet.write_text(_FLEET)
    port, half = _PORTS.take(), len(engine_ports) // 2
    command = [sys.executable, "-m", "weir", "router", "--listen", f"127.0.0.1:{port}"]
    command += ["--fleet", str(fleet)]
    command += _workers(engine_ports[:half], "prefill=") + _workers(engine_ports[half:], "decode=")
    return Peer(f"{name}_two_legs", command, port, cpu, folder, tree)


def nginx(engine_ports: Sequence[int], cpu: int, folder: Path) -> Peer | None:
    """A plain reverse proxy that buffers no response and keeps no access log; None without one."""
    program = _program(_NGINX_PROGRAM, "nginx")
    if program is None:
        return None
    port = _PORTS.take()
    servers = "\n    ".join(f"server 127.0.0.1:{each};" for each in engine_ports)
    with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".conf", delete=False) as file:
        file.write(_NGINX.format(folder=folder, servers=servers, port=port))
    command = [program, "-p", str(folder), "-c", file.name, "-e", str(folder / "early.log")]
    return Peer("nginx", command, port, cpu, folder)


def sglang_router(engine_ports: Sequence[int], cpu: int, folder: Path) -> Peer | None:
    """As it is without any option, but for where it listens; None without one."""
    program = _program(_SGLANG_PROGRAM, "sglang-router")
    if program is None:
        return None
    port = _PORTS.take()
    command = [program, "launch", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--prometheus-host", "127.0.0.1", "--prometheus-port", str(_PORTS.take())]
    command += ["--worker-urls", *(f"http://127.0.0.1:{each}" for each in engine_ports)]
    return Peer("sglang_router", command, port, cpu, folder)


def _workers(engine_ports: Sequence[int], pool: str = "") -> list[str]:
    return [
        word for port in engine_ports for word in ("--worker", f"{pool}http://127.0.0.1:{port}")
    ]


def _program(ours: Path, name: str) -> str | None:
    elsewhere = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
    return str(ours) if ours.exists() else shutil.which(name, path=elsewhere)
