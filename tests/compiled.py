"""This tree with its hot path compiled, as `make wheel` has it, in a folder of its own."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

__all__ = ["build", "missing"]

_ROOT = Path(__file__).parents[1]
_FOLDERS = ("docs", "examples", "globalplanner", "poolplanner", "router", "tests", "weir")
_FILES = ("LICENSE", "README.md", "pyproject.toml", "setup.py")
_DEADLINE_S = 900.0


def missing() -> str | None:
    """What compiling needs and this machine has not; None if there is all."""
    if find_spec("mypyc") is None:
        return "mypyc: `make check` installs it"
    return None if shutil.which("cc") else "a C compiler, `cc`"


def build(folder: Path, *, level: int = 3) -> None:
    """Copy the tree there and compile it in place; `level`: how far the compiler optimizes.

    Raises `RuntimeError` with the compiler's words.
    """
    unwanted = shutil.ignore_patterns("__pycache__", "*.so")
    for name in _FOLDERS:
        shutil.copytree(_ROOT / name, folder / name, ignore=unwanted)
    for name in _FILES:
        shutil.copy(_ROOT / name, folder)
    done = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
        cwd=folder,
        env={**os.environ, "WEIR_COMPILE": str(level), "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=_DEADLINE_S,
    )
    if done.returncode:
        raise RuntimeError(f"compiling failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
