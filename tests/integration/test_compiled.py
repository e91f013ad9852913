"""What `make wheel` compiles does what the sources do: their own tests are run against it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import compiled

_DEADLINE_S = 600.0
_TESTS = ("tests/unit/http1", "tests/unit/router", "tests/unit/router_frontend")
_FILES = """
import router.core.dispatch, router.frontend.delivery, weir.http1.exchange
import sys
print(*(sys.modules[name].__file__ for name in (
    "router.core.dispatch", "router.frontend.delivery", "weir.http1.exchange")))
"""


@pytest.mark.skipif(compiled.missing() is not None, reason=f"NOT RUN: lacks {compiled.missing()}")
@pytest.mark.timeout(2 * _DEADLINE_S)
def test_the_compiled_router_passes_the_tests_of_its_sources(tmp_path: Path) -> None:
    compiled.build(tmp_path, level=0)

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        return done.stdout

    for module in run("-c", _FILES).split():
        assert module.startswith(str(tmp_path)) and module.endswith(".so")
    run("-m", "pytest", "-q", "-p", "no:cacheprovider", *_TESTS)
