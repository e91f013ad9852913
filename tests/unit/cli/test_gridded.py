"""What `weir router --dynamo-config` is to route by."""

import argparse
from pathlib import Path

import pytest

from router.config import UsageError
from weir.cli import gridded
from weir.cli.router import configure
from weir.domain.fleet import Role
from weir.fleet import LoadedFleet, loads

DISAGG = str(Path(__file__).resolve().parents[2] / "data" / "dynamo" / "router_disagg.json")
FLEET = """
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: f}
spec:
  models: [{name: m}]
  classes: [{name: all, ttft_ms: 500, itl_ms: 50}]
  budget: {gpus: 8}
  pools:
    - {name: short-prefill, role: prefill, model: m}
    - {name: long-prefill, role: prefill, model: m}
    - {name: short-decode, role: decode, model: m}
    - {name: slow, role: decode, model: m, dynamo: {deployment: x, callerNamespace: long-decode}}
    - {name: agg, role: agg, model: m}
"""


def _of(*arguments: str, loaded: LoadedFleet | None = None) -> gridded.Gridded | None:
    parser = argparse.ArgumentParser()
    configure(parser)
    return gridded.of(parser.parse_args(["--model", "m", *arguments]), loaded)


def test_its_namespaces_are_the_pools_without_a_document() -> None:
    names = ("short-prefill", "long-prefill", "short-decode", "long-decode")
    workers = [word for name in names for word in ("--worker", f"{name}=http://x:1")]
    found = _of("--dynamo-config", DISAGG, *workers)
    assert found is not None
    roles = {pool.id: pool.role for pool in found.fleet.pools}
    assert roles == dict.fromkeys(names[:2], Role.PREFILL) | dict.fromkeys(names[2:], Role.DECODE)
    assert found.grid.head.pools == names[:2]
    assert found.notes == ()


def test_its_namespaces_are_pools_of_the_document_if_there_is_one() -> None:
    found = _of("--dynamo-config", DISAGG, "--default-ttft-target-ms", "7", loaded=loads(FLEET))
    assert found is not None and found.grid.decode is not None
    assert found.grid.decode.pools == ("short-decode", "slow")
    assert found.grid.head.ttft_ms is not None and found.grid.head.ttft_ms.usual == 7.0
    assert found.notes == ("agg: not in it, so only for what a plan sends",)


def test_without_a_file_there_is_no_grid_and_no_default_target() -> None:
    assert _of() is None
    with pytest.raises(UsageError, match="are for a grid"):
        _of("--default-itl-target-ms", "7")
