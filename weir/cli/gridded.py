"""What `weir router --dynamo-config` routes by: the grid, its pools, and what is doubtful."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from router.adapters.static import static_fleet
from router.config import UsageError
from weir.domain.fleet import Fleet
from weir.domain.grid import Grid
from weir.domain.ids import PoolId
from weir.fleet import LoadedFleet
from weir.fleet.dynamo_grid_file import GridFile, read_grid
from weir.fleet.dynamo_grid_pools import left_out, pools_of

__all__ = ["Gridded", "of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gridded:
    grid: Grid
    fleet: Fleet
    notes: tuple[str, ...]


def of(args: argparse.Namespace, loaded: LoadedFleet | None) -> Gridded | None:
    """None without --dynamo-config. The pools are the document's, else the file's own.

    Raises `FleetError`, or `UsageError` if the options do not go together.
    """
    if args.dynamo_config is None:
        if args.default_ttft_target_ms is not None or args.default_itl_target_ms is not None:
            raise UsageError("--default-ttft-target-ms and --default-itl-target-ms are for a grid")
        return None
    file = read_grid(args.dynamo_config)
    fleet = static_fleet(args.model, file.namespaces()) if loaded is None else loaded.fleet
    pools = pools_of(file, fleet)
    grid = file.grid(
        lambda name, role: pools[name, role],
        args.default_ttft_target_ms,
        args.default_itl_target_ms,
    )
    unused = tuple(
        f"{pool}: not in it, so only for what a plan sends" for pool in left_out(pools, fleet)
    )
    idle = tuple(_without_workers(args, file)) if loaded is None else ()
    return Gridded(grid=grid, fleet=fleet, notes=(*file.notes, *unused, *idle))


def _without_workers(args: argparse.Namespace, file: GridFile) -> Iterator[str]:
    given = {PoolId(worker.partition("=")[0]) for worker in args.workers}
    for name, _ in file.namespaces():
        if name not in given:
            yield f"{name}: no --worker {name}=URL, so its requests wait in vain"
