"""A small valid document to bend in tests, and a shortcut to its problems."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from weir.domain.errors import FleetError
from weir.fleet import load

__all__ = ["MINIMAL", "problems_of"]

MINIMAL = """\
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: test}
spec:
  models: [{name: m}]
  budget: {gpus: 8}
  pools:
    - {name: p, role: prefill, model: m}
    - {name: d, role: decode, model: m}
"""


def problems_of(folder: Path, text: str | bytes, sets: Sequence[str] = ()) -> tuple[str, ...]:
    """What `load` says is wrong with `text`; fails if nothing is."""
    path = folder / "fleet.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FleetError) as caught:
        load(path, sets)
    assert str(caught.value).startswith(f"{path}: ")
    return caught.value.problems
