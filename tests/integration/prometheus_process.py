"""A real Prometheus, and a process whose counters it scrapes, both killed and begun anew."""

import json
import os
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from tests.integration.ports import free_port

__all__ = ["NAMESPACE", "DynamoFrontend", "DynamoRouter", "PrometheusServer"]

NAMESPACE = "prod-chat"
_LABELS = {"dynamo_namespace": "prod_chat", "dynamo_component": "router"}
_TTFT_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
_LENGTHS = (100.0, 200.0, 400.0, 800.0, 1600.0)


class _Dynamo:
    """Exports what a Dynamo process counts, at `port`, from zero on."""

    def __init__(self, port: int, prefix: str, labels: dict[str, str]) -> None:
        registry = CollectorRegistry()
        self._registry, self._prefix, self._labels = registry, prefix, labels
        self.families: dict[str, Any] = {}
        self.started = self._of(Counter, "requests_started_total")
        self.ttft_s = self._of(Histogram, "time_to_first_token_seconds", buckets=_TTFT_S)
        self.isl = self._of(Histogram, "input_sequence_tokens", buckets=_LENGTHS)
        self.osl = self._of(Histogram, "output_sequence_tokens", buckets=_LENGTHS)
        self.offered = 0
        self.other = Gauge("unrelated", "Not asked for.", registry=registry)
        self._server, self._thread = start_http_server(port, "127.0.0.1", registry)

    def request(self, *, ttft_s: float, isl_tokens: int, osl_tokens: int) -> None:
        self.offered += 1
        self.started.inc()
        self.ttft_s.observe(ttft_s)
        self.isl.observe(isl_tokens)
        self.osl.observe(osl_tokens)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)

    def _of(self, kind: Any, name: str, **more: Any) -> Any:
        more |= {"labelnames": list(self._labels), "registry": self._registry}
        self.families[name] = kind(self._prefix + name, "As Dynamo has it.", **more)
        return self.families[name].labels(**self._labels)


class DynamoRouter(_Dynamo):
    """A pool's router."""

    def __init__(self, port: int) -> None:
        super().__init__(port, "dynamo_component_router_", _LABELS)


class DynamoFrontend(_Dynamo):
    """A frontend of two models, of which the other one has nine times the requests.

    Its process also shows what a vLLM that speculates counts.
    """

    def __init__(self, port: int, model: str) -> None:
        labels = {"dynamo_namespace": NAMESPACE, "model": model}
        super().__init__(port, "dynamo_frontend_", labels)
        self.in_flight = self._of(Gauge, "inflight_requests")
        self.in_flight.set(7)
        started = self.families["requests_started_total"]
        self._others = started.labels(dynamo_namespace=NAMESPACE, model="other")
        self._drafts, self._accepted = (
            Counter(
                f"vllm:spec_decode_num_{name}",
                "As vLLM has it.",
                ["model_name"],
                registry=self._registry,
            )
            for name in ("drafts", "accepted_tokens")
        )
        self._model = model

    def request(self, *, ttft_s: float, isl_tokens: int, osl_tokens: int) -> None:
        super().request(ttft_s=ttft_s, isl_tokens=isl_tokens, osl_tokens=osl_tokens)
        self._others.inc(9)
        for model, accepted in ((self._model, 1.5), ("other", 4.0)):
            self._drafts.labels(model_name=model).inc(10)
            self._accepted.labels(model_name=model).inc(10 * accepted)


class PrometheusServer:
    """Scrapes `target_port` five times a second."""

    def __init__(self, folder: Path, target_port: int) -> None:
        self._folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        job = {
            "job_name": "dynamo",
            "scrape_interval": "200ms",
            "scrape_timeout": "200ms",
            "static_configs": [{"targets": [f"127.0.0.1:{target_port}"]}],
        }
        (folder / "prometheus.yml").write_text(json.dumps({"scrape_configs": [job]}))

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={self._folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--log.level=error",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60.0
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1.0):
                    return
            except OSError:
                time.sleep(0.05)
        raise TimeoutError("prometheus does not become ready")

    def value(self, expression: str) -> float:
        """The one number that an expression comes to now."""
        text = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{text}", timeout=5.0) as answer:
            (only,) = json.load(answer)["data"]["result"]
        return float(only["value"][1])

    def kill(self) -> None:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait(10.0)
            self._process = None
