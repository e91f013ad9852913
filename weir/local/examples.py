"""Where the example fleets are: in the source tree, or beside an installed package."""

import sysconfig
from pathlib import Path

import weir
from weir.domain.errors import UnavailableError

__all__ = ["demo_fleet"]

_DEMO = Path("examples/fleets/demo.yaml")


def demo_fleet() -> Path:
    """The fleet that `weir up` runs unless told otherwise.

    Raises `UnavailableError` if this installation has none.
    """
    source_tree = Path(weir.__file__).resolve().parent.parent
    installed = Path(sysconfig.get_path("data")) / "share" / "weir"
    for root in (source_tree, installed):
        if (root / _DEMO).is_file():
            return root / _DEMO
    raise UnavailableError(f"no demo fleet below {source_tree} or {installed}; give --fleet FILE")
