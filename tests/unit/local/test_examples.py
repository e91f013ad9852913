"""The demo fleet is found in a source tree and in an installation."""

import sysconfig
from pathlib import Path

import pytest

import weir
from weir.domain.errors import UnavailableError
from weir.local.examples import demo_fleet

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where an installation, with its package outside of any source tree, keeps its data."""
    package = tmp_path / "lib" / "weir" / "__init__.py"
    monkeypatch.setattr(weir, "__file__", str(package))
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / name))
    return tmp_path / "data" / "share" / "weir"


def test_the_source_tree_comes_first() -> None:
    assert demo_fleet() == ROOT / "examples" / "fleets" / "demo.yaml"


def test_an_installation_brings_its_own(installed: Path) -> None:
    demo = installed / "examples" / "fleets" / "demo.yaml"
    demo.parent.mkdir(parents=True)
    demo.touch()
    assert demo_fleet() == demo


def test_without_one_the_user_is_told_what_to_give(installed: Path) -> None:
    with pytest.raises(UnavailableError, match="give --fleet FILE"):
        demo_fleet()
