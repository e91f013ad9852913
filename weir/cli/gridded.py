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
from weir.fleet.dynamo_grid_source import GridSource
from weir.runtime.watched import signature

__all__ = ["Gridded", "of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gridded:
    grid: Grid
    source: GridSource
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
    source = GridSource(
        path=args.dynamo_config,
        seen=signature(args.dynamo_config),
        ttft_ms=args.default_ttft_target_ms,
        itl_ms=args.default_itl_target_ms,
    )
    idle: tuple[str, ...] = ()
    if loaded is not None:
        fleet = loaded.fleet
    else:
        file = read_grid(args.dynamo_config)
        fleet, idle = static_fleet(args.model, file.namespaces()), (*_without_workers(args, file),)
    read = source.read(fleet)
    return Gridded(grid=read.grid, source=source, fleet=fleet, notes=(*read.notes, *idle))


def _without_workers(args: argparse.Namespace, file: GridFile) -> Iterator[str]:
    given = {PoolId(worker.partition("=")[0]) for worker in args.workers}
    for name, _ in file.namespaces():
        if name not in given:
            yield f"{name}: no --worker {name}=URL, so its requests wait in vain"
