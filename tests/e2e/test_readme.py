"""What README.md tells people to type does what it says."""

import argparse
import importlib
import json
import re
import shlex
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from weir.cli import COMMANDS
from weir.local.ports import Ports

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
FENCE = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED = "127.0.0.1:8000"


@dataclass(frozen=True)
class Block:
    kind: str
    text: str

    @property
    def lines(self) -> list[str]:
        """Its commands, continued lines joined."""
        return self.text.replace("\\\n", " ").splitlines()


BLOCKS = [Block(match["kind"], match["text"]) for match in FENCE.finditer(README)]
COMMAND_LINES = [line for block in BLOCKS if block.kind == "sh" for line in block.lines]


def test_every_block_is_of_a_kind_that_is_run_or_a_picture() -> None:
    assert {block.kind for block in BLOCKS} <= {"sh", "python", ""}
    assert {shlex.split(line)[0] for line in COMMAND_LINES} == {"make", "curl", ".venv/bin/weir"}


@pytest.mark.parametrize("line", [line for line in COMMAND_LINES if line.startswith("make")])
def test_a_make_line_is_a_target_with_arguments_that_its_command_takes(line: str) -> None:
    dry = subprocess.run(
        [*shlex.split(line), "--dry-run"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    weir = re.search(r"\.venv/bin/weir (\S+) ?(.*)", dry.stdout)
    if weir is None:
        assert "pytest" in dry.stdout
        return
    parser = argparse.ArgumentParser()
    importlib.import_module(COMMANDS[weir[1]][0]).configure(parser)
    parser.parse_args(shlex.split(weir[2]))


SIMULATIONS = [line for line in COMMAND_LINES if " simulate " in line]


@pytest.mark.parametrize("line", [line for line in SIMULATIONS if "--rate-scale" not in line])
def test_a_simulation_ends_well(line: str, tmp_path: Path) -> None:
    words = shlex.split(shlex.split(line)[-1].removeprefix("ARGS="))
    there = [str(ROOT / word) if word.startswith("examples/") else word for word in words]
    command = [sys.executable, "-m", "weir", "simulate", *there]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "attainment" in done.stdout
    written = [words[words.index("--report") + 1]] if "--report" in words else []
    assert [path.name for path in tmp_path.iterdir()] == written


def test_the_port_is_the_one_that_up_serves_on() -> None:
    parser = argparse.ArgumentParser()
    importlib.import_module(COMMANDS["up"][0]).configure(parser)
    assert PRINTED.endswith(f":{parser.parse_args([]).port}")
    assert set(re.findall(r"127\.0\.0\.1:\d+", README)) == {PRINTED}


OF_A_FLEET = [line for line in COMMAND_LINES if line.startswith(".venv") and " router " not in line]


@pytest.mark.parametrize("line", OF_A_FLEET)
def test_what_is_asked_of_a_running_fleet_is_answered(line: str, planner: str) -> None:
    command = [sys.executable, "-m", "weir", *shlex.split(line)[1:], "--planner", planner]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("line", [line for line in COMMAND_LINES if " router " in line])
def test_a_router_alone_serves_what_its_engines_do(line: str, endpoint: str) -> None:
    line = line.replace("gpu-1:8000", endpoint)
    words = shlex.split(line.replace("gpu-2:8000", endpoint.replace("127.0.0.1", "localhost")))
    words[words.index("my-model")] = "demo"
    port = Ports().take()
    command = [sys.executable, "-m", "weir", *words[1:], "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as router:
        try:
            assert router.stderr is not None
            assert any("listening" in each for each in router.stderr)
            body = {"model": "demo", "messages": [{"role": "user", "content": "Hi"}]}
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/v1/chat/completions",
                json.dumps(body | {"max_tokens": 3}).encode(),
                {"content-type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert json.load(answer)["usage"]["completion_tokens"] == 3
        finally:
            router.terminate()
    assert router.returncode == 0


@pytest.mark.needs("curl")
@pytest.mark.parametrize("line", [line for line in COMMAND_LINES if line.startswith("curl")])
def test_a_curl_line_gets_an_answer(line: str, endpoint: str) -> None:
    command = shlex.split(line.replace(PRINTED, endpoint))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    answer = json.loads(done.stdout)
    assert answer["choices"][0]["message"]["content"].strip()
    assert answer["usage"]["completion_tokens"] == 20


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.kind == "python"])
def test_a_python_block_runs_and_prints(block: Block, endpoint: str) -> None:
    command = [sys.executable, "-c", block.text.replace(PRINTED, endpoint)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
