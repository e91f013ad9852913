"""What the compiler of `make wheel` is told; it means nothing where Python runs the sources."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

__all__ = ["mypyc_attr"]

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr
else:
    _C = TypeVar("_C")

    def mypyc_attr(**_: bool) -> Callable[[_C], _C]:
        """`allow_interpreted_subclasses`: classes that are not compiled may inherit from it."""
        return lambda decorated: decorated
