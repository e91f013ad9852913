"""aiperf, the load generator of NVIDIA's stack, lets itself loose on weir: does it find nothing?

    python -m tests.benchmarks.bench_aiperf [--json] [--requests N] [--concurrency N]

aiperf 0.13 runs in an environment of its own (.peers/aiperf, which `tools/aiperf.sh` makes; half a
gigabyte) against `weir router` with two mock engines. It fails unless aiperf has had every answer,
without an error, and has counted as many requests and output tokens as the router. Where aiperf
cannot be installed it says so on stderr, measures nothing, and is no failure.

Printed are what aiperf says of latencies and throughput: those of mock engines, so they tell how
weir passes them on and not how fast anything is.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

__all__ = ["agreed", "main"]

_ROOT = Path(__file__).parents[2]
_HOME = _ROOT / ".peers" / "aiperf" / "bin"
_START_S, _RUN_S, _INSTALL_S = 120.0, 900.0, 1800.0
_ENGINES = 2
_ISL_TOKENS, _OSL_TOKENS = 120, 32
_SHOWN = {
    "request_throughput": "requests/s",
    "output_token_throughput": "tokens/s",
    "time_to_first_token": "TTFT, ms",
    "inter_token_latency": "ITL, ms",
    "request_latency": "request, ms",
}
_TOKENIZER = """
import json, pathlib, sys
from tokenizers import Tokenizer, models, pre_tokenizers
words = {f"w{number}": number for number in range(512)} | {"<unk>": 512, "</s>": 513}
for byte in range(32, 127):
    words.setdefault(chr(byte), len(words))
made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
folder = pathlib.Path(sys.argv[1])
made.save(str(folder / "tokenizer.json"))
kind = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "eos_token": "</s>"}
(folder / "tokenizer_config.json").write_text(json.dumps(kind))
"""
"""A tokenizer of a few hundred words, made by aiperf's own libraries: nothing is downloaded."""


def agreed(report: dict[str, Any], metrics: str, requests: int) -> list[str]:
    """What aiperf and the router do not agree on; nothing, if all is well."""
    wrong = []
    counted = _value(report, "request_count")
    if counted != requests:
        wrong.append(f"aiperf has counted {counted} answers to {requests} requests")
    errors = _value(report, "error_request_count") or 0
    if errors or report.get("error_summary"):
        wrong.append(f"aiperf has seen {errors:g} errors: {report.get('error_summary')}")
    outcomes = dict(
        re.findall(r'^weir_router_requests_total\{.*outcome="(\w+)"\} (\S+)$', metrics, re.M)
    )
    ended = {how: float(count) for how, count in outcomes.items() if float(count)}
    if ended != {"completed": requests}:
        wrong.append(f"the router's requests have ended {ended}, not all {requests} completed")
    tokens = _value(report, "total_osl") or _value(report, "total_output_tokens")
    if tokens is not None and tokens != requests * _OSL_TOKENS:
        wrong.append(f"aiperf has counted {tokens:g} output tokens, not {requests * _OSL_TOKENS}")
    return wrong


def _value(report: dict[str, Any], name: str) -> float | None:
    found = report.get(name)
    return None if found is None else float(found["avg"])


def _installed() -> bool:
    if (_HOME / "aiperf").exists():
        return True
    try:
        done = subprocess.run(["sh", str(_ROOT / "tools/aiperf.sh")], timeout=_INSTALL_S)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


@contextmanager
def _weir(folder: Path, *arguments: str) -> Iterator[dict[str, str]]:
    """A weir process; its log line "listening" as a mapping."""
    log = folder / f"weir-{time.monotonic_ns()}.log"
    with log.open("wb") as file:
        child = subprocess.Popen([sys.executable, "-m", "weir", *arguments], cwd=_ROOT, stderr=file)
    try:
        deadline = time.monotonic() + _START_S
        while not (found := re.search(r"listening (.*)", log.read_text())):
            if child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"weir {arguments[0]} does not listen:\n{log.read_text()}")
            time.sleep(0.05)
        yield dict(re.findall(r"(\w+)=(\S+)", found[1]))
    finally:
        child.terminate()
        try:
            child.wait(10.0)
        except subprocess.TimeoutExpired:
            child.kill()


def _measure(requests: int, concurrency: int) -> tuple[dict[str, Any], str]:
    """aiperf's report, and the router's metrics after it."""
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory()))
        tokenizer = folder / "tokenizer"
        tokenizer.mkdir()
        subprocess.run([_HOME / "python", "-c", _TOKENIZER, tokenizer], check=True)
        workers = []
        for _ in range(_ENGINES):
            command = ("mocker", "--listen", "127.0.0.1:0", "--model", "demo")
            port = closing.enter_context(_weir(folder, *command))["port"]
            workers += ["--worker", f"http://127.0.0.1:{port}"]
        command = ("router", "--listen", "127.0.0.1:0", "--model", "demo", *workers)
        port = closing.enter_context(_weir(folder, *command))["port"]
        url = f"http://127.0.0.1:{port}"
        log = (folder / "aiperf.log").open("w+")
        closing.callback(log.close)
        done = subprocess.run(
            _command(url, tokenizer, folder / "out", requests, concurrency),
            cwd=folder, stdout=log, stderr=subprocess.STDOUT, timeout=_RUN_S,
        )  # fmt: skip
        files = list((folder / "out").rglob("profile_export_aiperf.json"))
        if done.returncode or not files:
            log.seek(0)
            raise RuntimeError(f"aiperf ended with {done.returncode}:\n{log.read()[-4000:]}")
        with urllib.request.urlopen(f"{url}/metrics", timeout=30.0) as answer:
            return json.loads(files[0].read_text()), answer.read().decode()


def _command(
    url: str, tokenizer: Path, out: Path, requests: int, concurrency: int
) -> Sequence[str | Path]:
    return [
        *(_HOME / "aiperf", "profile", "--model", "demo", "--tokenizer", tokenizer),
        *("--url", url, "--endpoint-type", "chat", "--streaming", "--ui", "none"),
        *("--isl", str(_ISL_TOKENS), "--isl-stddev", "0"),
        *("--osl", str(_OSL_TOKENS), "--osl-stddev", "0", "--extra-inputs", "ignore_eos:true"),
        *("--use-server-token-count", "--random-seed", "1", "--artifact-dir", out),
        *("--request-count", str(requests), "--concurrency", str(concurrency)),
    ]


def _told(report: dict[str, Any]) -> str:
    lines = [f"{'':14}{'mean':>10}{'p50':>10}{'p99':>10}"]
    for name, title in _SHOWN.items():
        found = report.get(name) or {}
        cells = (found.get(each) for each in ("avg", "p50", "p99"))
        lines.append(
            f"{title:14}" + "".join(f"{'' if c is None else f'{c:.1f}':>10}" for c in cells)
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--concurrency", type=int, default=16)
    options = parser.parse_args(argv)
    if not _installed():
        print("NOT MEASURED: aiperf cannot be installed (tools/aiperf.sh)", file=sys.stderr)
        if options.json:
            print(json.dumps({"skipped": "aiperf cannot be installed"}))
        return 0
    report, metrics = _measure(options.requests, options.concurrency)
    wrong = agreed(report, metrics, options.requests)
    for each in wrong:
        print(f"bench_aiperf: {each}", file=sys.stderr)
    if options.json:
        shown = {name: report.get(name) for name in ("request_count", *_SHOWN)}
        print(json.dumps({**shown, "requests": options.requests, "wrong": wrong}))
    else:
        print(_told(report))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
