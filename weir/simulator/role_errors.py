"""What a role's service catches and logs as an error is a defect, and must not go unseen.

Services hold what they have when a round of theirs fails, and go on. In a simulation that
counts as a broken invariant. Warnings, such as of a peer that does not answer, are nobody's
business here: faults cause them by the thousand.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["role_errors"]


@contextmanager
def role_errors(world: "World") -> Iterator[None]:
    """While it lasts, errors that are logged are violations, and nothing is printed."""
    root, handler = logging.getLogger(), _Violations(world)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class _Violations(logging.Handler):
    def __init__(self, world: "World") -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        self._world.invariants.found("error", self.format(record))
