"""Weir is pure Python. With WEIR_COMPILE set its wheel holds what every request runs as C as well.

Its value is how far the C compiler optimizes, 0 to 3. All else is in pyproject.toml. `make wheel`
builds it so.
"""

import os
from pathlib import Path

from setuptools import setup

_COMPILED = (
    *Path("router/core").rglob("[!_]*.py"),
    *Path("router/frontend").glob("[!_]*.py"),
    Path("router/service.py"),
    *Path("weir/http1").glob("[!_]*.py"),
)
_NOT_COMPILED = {
    Path("router/frontend/hints.py"),
    Path("router/frontend/ports.py"),
    Path("weir/http1/server.py"),
}
"""They run seldom, and mypyc makes no generic dataclass and believes stubs that say `tuple`."""

extensions = []
level = os.environ.get("WEIR_COMPILE")
if level:
    from mypyc.build import mypycify

    found = sorted(str(path) for path in set(_COMPILED) - _NOT_COMPILED)
    extensions = mypycify(found, opt_level=level)

setup(ext_modules=extensions)
