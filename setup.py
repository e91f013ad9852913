"""Weir is pure Python. With WEIR_COMPILE=1 its wheel holds what every request runs as C as well.

All else is in pyproject.toml. `make wheel` builds it so.
"""

import os
from pathlib import Path

from setuptools import setup

_COMPILED = [
    "router/core/*.py",
    "router/frontend/bodies.py",
    "router/frontend/envelope.py",
    "router/frontend/headers.py",
    "router/frontend/observe.py",
    "weir/http1/chunked.py",
    "weir/http1/messages.py",
    "weir/http1/requests.py",
    "weir/http1/responder.py",
    "weir/http1/responses.py",
]

extensions = []
if os.environ.get("WEIR_COMPILE") == "1":
    from mypyc.build import mypycify

    found = [path for pattern in _COMPILED for path in sorted(Path().glob(pattern))]
    extensions = mypycify([str(path) for path in found])

setup(ext_modules=extensions)
