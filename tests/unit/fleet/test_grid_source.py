"""A grid file that changes while a router goes by it."""

import json
import shutil
from pathlib import Path
from typing import Any

from router.adapters.static import static_fleet
from weir.fleet.dynamo_grid_file import read_grid
from weir.fleet.dynamo_grid_source import GridSource, GridWatch
from weir.runtime.watched import signature

DISAGG = Path(__file__).resolve().parents[2] / "data" / "dynamo" / "router_disagg.json"


def _watch(folder: Path) -> tuple[Path, GridWatch]:
    path = folder / "grid.json"
    shutil.copy(DISAGG, path)
    fleet = static_fleet(["m"], read_grid(path).namespaces())
    return path, GridWatch(GridSource(path=path, seen=signature(path)), fleet)


def _write(path: Path, **changes: Any) -> None:
    changed = json.loads(path.read_text()) | changes
    path.with_suffix(".new").write_text(json.dumps(changed))
    path.with_suffix(".new").replace(path)


def test_a_changed_file_is_the_new_grid_once(tmp_path: Path) -> None:
    path, watch = _watch(tmp_path)
    assert watch.renewed() is None
    _write(path, enable_priority_retry=True)
    grid = watch.renewed()
    assert grid is not None
    assert grid.retries
    assert watch.renewed() is None


def test_a_file_that_cannot_be_used_is_counted_and_changes_nothing(tmp_path: Path) -> None:
    path, watch = _watch(tmp_path)
    good = path.read_text()
    path.write_text("{")
    assert (watch.renewed(), watch.refused) == (None, 1)
    assert (watch.renewed(), watch.refused) == (None, 1)
    path.unlink()
    assert (watch.renewed(), watch.refused) == (None, 2)
    path.write_text(good)
    assert watch.renewed() is not None


def test_pools_that_the_router_has_not_are_refused(tmp_path: Path) -> None:
    path, watch = _watch(tmp_path)
    _write(path, prefill_pool_dynamo_namespaces=["short-prefill", "another"])
    assert (watch.renewed(), watch.refused) == (None, 1)
