"""The temporary folder of a run is gone when the run is, at the latest with the next run."""

import os
from pathlib import Path

from weir.local.workspace import Workspace


def test_the_folder_is_removed_with_all_that_is_in_it(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        workspace.log("router").write_text("line\n")
        assert workspace.path.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_a_killed_runs_folder_is_removed_by_the_next_run(tmp_path: Path) -> None:
    killed = tmp_path / "weir-up-killed"
    (killed / "logs").mkdir(parents=True)
    (killed / "lock").touch()
    with Workspace(tmp_path) as workspace:
        assert list(tmp_path.iterdir()) == [workspace.path]


def test_a_living_runs_folder_is_left_alone(tmp_path: Path) -> None:
    with Workspace(tmp_path) as living, Workspace(tmp_path) as other:
        assert living.path.is_dir()
        assert other.path != living.path


def test_a_folder_that_is_only_being_created_is_left_alone(tmp_path: Path) -> None:
    young = tmp_path / "weir-up-young"
    young.mkdir()
    with Workspace(tmp_path):
        assert young.is_dir()


def test_foreign_folders_are_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / "weir-upside"
    foreign.mkdir()
    (foreign / "lock").touch()
    os.utime(foreign, (0, 0))
    with Workspace(tmp_path):
        assert foreign.is_dir()
