"""Options of the whole suite, and its end."""

import faulthandler
import os
import shutil
import sys

import pytest
from hypothesis import settings

_ENDS_WITHIN_S = 30.0

# The suite says the same twice about the same code; `make soak` goes looking for more.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=2000, deadline=None)
_PROFILE = os.environ.get("WEIR_TEST_EXAMPLES", "same")
settings.load_profile(_PROFILE)
_SEARCH_FACTOR = 10
"""To search takes so many times the examples of a test that says how many it takes."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seeds",
        type=int,
        metavar="N",
        help="of tests that run once per seed, run only the first N seeds",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        if shutil.which(marker.args[0]) is None:
            pytest.skip(f"NOT RUN: this machine has no `{marker.args[0]}`; install it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _PROFILE == "search":
        for item in items:
            _search(item)
    seeds: int | None = config.getoption("--seeds")
    if seeds is None:
        return
    beyond = [item for item in items if _seed(item) >= seeds]
    config.hook.pytest_deselected(items=beyond)
    items[:] = [item for item in items if _seed(item) < seeds]


def _search(item: pytest.Item) -> None:
    """More examples where the test's own settings would hide those of the profile."""
    test = getattr(item, "obj", None)
    test = getattr(test, "__func__", test)
    owner, name = test, "_hypothesis_internal_use_settings"
    if not hasattr(test, name):  # a state machine has them at its class
        owner, name = getattr(item, "cls", None), "settings"
    own = getattr(owner, name, None)
    if isinstance(own, settings) and own.max_examples != settings().max_examples:
        more = own.max_examples * _SEARCH_FACTOR
        setattr(owner, name, settings(own, max_examples=more, derandomize=False))


def _seed(item: pytest.Item) -> int:
    """The item's parameter `seed`; -1 if it has none."""
    call = getattr(item, "callspec", None)
    seed = call.params.get("seed") if call else None
    return seed if isinstance(seed, int) else -1


def pytest_sessionfinish() -> None:
    """A gRPC server that a test leaves open blocks the interpreter's end for ever.

    Then fail with a traceback instead.
    """
    faulthandler.dump_traceback_later(_ENDS_WITHIN_S, exit=True, file=sys.__stderr__)
