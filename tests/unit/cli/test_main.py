"""The dispatcher: exit codes, one clear line per problem, nothing imported in vain."""

import argparse
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

import weir.cli
from weir.cli import COMMANDS, main
from weir.domain.errors import FleetError, RequestError, UnavailableError


def _with_command(
    monkeypatch: pytest.MonkeyPatch, run: Callable[[argparse.Namespace], int]
) -> None:
    module = SimpleNamespace(configure=lambda parser: parser.add_argument("--x"), run=run)
    monkeypatch.setattr(weir.cli.importlib, "import_module", lambda name: module)


def _raises(error: BaseException) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        raise error

    return run


def test_the_exit_code_is_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    _with_command(monkeypatch, lambda args: int(args.x))
    assert main(["up", "--x", "7"]) == 7


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (FleetError("f.yaml", ["line 1: a", "line 2: b"]), 2,
         ["weir up: f.yaml: line 1: a", "weir up: f.yaml: line 2: b"]),
        (RequestError("too long"), 2, ["weir up: too long"]),
        (UnavailableError("NATS does not answer"), 1, ["weir up: NATS does not answer"]),
        (OSError(98, "Address already in use"), 1, ["weir up: [Errno 98] Address already in use"]),
        (KeyboardInterrupt(), 130, []),
    ],
)  # fmt: skip
def test_an_error_is_a_line_per_problem_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    lines: list[str],
) -> None:
    _with_command(monkeypatch, _raises(error))
    assert main(["up"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == lines


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    _with_command(monkeypatch, _raises(RuntimeError("bug")))
    with pytest.raises(RuntimeError):
        main(["up"])


@pytest.mark.parametrize("arguments", [["nope"], ["up", "--nope"], ["--nope"], ["up", "--x"]])
def test_bad_usage_exits_with_2_and_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    _with_command(monkeypatch, lambda args: 0)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: weir" in captured.err


def test_no_command_prints_the_help_and_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "commands:" in capsys.readouterr().err


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("weir 0.")


def test_help_imports_no_heavy_library() -> None:
    code = (
        "import sys, weir.cli; weir.cli.main(['--help']);"
        "heavy = {'pydantic', 'grpc', 'numpy', 'yaml', 'asyncio', 'aiohttp'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_goes_away_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "weir", "schema"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(timeout=30) == 141
    assert process.stderr.read() == ""
    process.stderr.close()
