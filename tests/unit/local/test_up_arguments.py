"""Bad input to `weir up`: exit 2 and a line that says what to mend, before anything starts."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from weir.cli import main

FLEETS = Path(__file__).resolve().parents[3] / "examples" / "fleets"
DEMO = ("--fleet", str(FLEETS / "demo.yaml"))


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What `weir up` says on stderr when it refuses to start."""

    def said(*arguments: str) -> str:
        assert main(["up", *arguments]) == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert "starting fleet" not in output.err
        return output.err

    return said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--for", "-1"), "--for: must be above 0"),
        (("--for", "soon"), "--for: must be a number"),
        (("--speed", "0"), "--speed: must be above 0"),
        (("--speed", "1e9"), "--speed: must be at most"),
        (("--port", "70000"), "--port: must be a port"),
        (("--fleet", "no/such.yaml"), "no/such.yaml: cannot be read"),
        (("--trace", "no/such.csv"), "no/such.csv:1: cannot be read"),
        (("--trace", "poisson:rate=x"), "poisson:rate=x: rate must be a number"),
        (("--set", "spec.budget.gpus=none"), "spec.budget.gpus"),
        (("--bogus",), "unrecognized arguments: --bogus"),
    ],
)
def test_a_bad_argument_is_named(
    refused: Callable[..., str], arguments: tuple[str, ...], said: str
) -> None:
    assert said in refused(*DEMO, *arguments)


def test_every_error_of_a_bad_fleet_is_told_at_once(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.yaml"
    text = (FLEETS / "agg.yaml").read_text()
    bad.write_text(text.replace("role: agg", "role: aggg").replace("gpus:", "gpuz:"))
    said = refused("--fleet", str(bad))
    assert "aggg" in said
    assert "gpuz" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("a,b\n1,2\n", "no column timestamp_s, isl, osl"),
        ("timestamp_s,isl,osl\n0,ten,5\n", "isl must be a number"),
        ("timestamp_s,isl,osl\n0,10\n", "has 2 values"),
        ("timestamp_s,isl,osl\n-1,10,5\n", "timestamp_s"),
    ],
)
def test_a_bad_trace_is_told_with_its_line(
    refused: Callable[..., str], tmp_path: Path, text: str, said: str
) -> None:
    trace = tmp_path / "bad.csv"
    trace.write_text(text)
    stderr = refused(*DEMO, "--trace", str(trace))
    assert f"{trace}:" in stderr
    assert said in stderr


def test_a_taken_port_is_told_with_what_to_do(refused: Callable[..., str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(*DEMO, "--port", str(port))
    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert "give another --port" in said
