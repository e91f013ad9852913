"""A grid file that may change while a router goes by it."""

import logging
from dataclasses import dataclass
from pathlib import Path

from weir.domain.errors import FleetError
from weir.domain.fleet import Fleet
from weir.domain.grid import Grid
from weir.fleet.dynamo_grid_file import read_grid
from weir.fleet.dynamo_grid_pools import left_out, pools_of
from weir.runtime.watched import Signature, signature

__all__ = ["GridSource", "GridWatch", "ReadGrid"]

_log = logging.getLogger("weir.grid")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadGrid:
    """`notes`: what is doubtful in the file."""

    grid: Grid
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GridSource:
    """`ttft_ms`, `itl_ms`: what counts for requests without a target; None: the axis' middle.

    `seen`: the file that was read first; another one is news.
    """

    path: Path
    seen: Signature | None = None
    ttft_ms: float | None = None
    itl_ms: float | None = None

    def read(self, fleet: Fleet) -> ReadGrid:
        """Raises `FleetError` with what is wrong with it, pools that the fleet has not included."""
        file = read_grid(self.path)
        pools = pools_of(file, fleet)
        grid = file.grid(lambda name, role: pools[name, role], self.ttft_ms, self.itl_ms)
        unused = (
            f"{pool}: not in it, so only for what a plan sends" for pool in left_out(pools, fleet)
        )
        return ReadGrid(grid=grid, notes=(*file.notes, *unused))


class GridWatch:
    """`renewed` once in a while gives what has changed."""

    def __init__(self, source: GridSource, fleet: Fleet) -> None:
        self._source = source
        self._fleet = fleet
        self._seen = source.seen
        self.refused = 0
        """How often the file has changed to something that cannot be used."""

    def renewed(self) -> Grid | None:
        """The file's grid if the file is another one now and can be used; reads the file."""
        now = signature(self._source.path)
        if now == self._seen:
            return None
        self._seen = now
        try:
            read = self._source.read(self._fleet)
        except FleetError as error:
            self.refused += 1
            _log.warning("the grid in use stays: %s", error)
            return None
        _log.info("grid renewed file=%s", self._source.path)
        if read.notes:
            _log.warning("%s: %s", self._source.path, "; ".join(read.notes))
        return read.grid
