"""Generate weir/api/v1 from proto/weir/api/v1; `--check` only compares (exit 1 on drift)."""

import argparse
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"


def generate(target: Path) -> None:
    """Write *_pb2.py, *_pb2.pyi and *_pb2_grpc.py below `target`."""
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    well_known = resources.files("grpc_tools") / "_proto"
    status = protoc.main(
        [
            "protoc",
            f"-I{PROTO}",
            f"-I{well_known}",
            f"--python_out={target}",
            f"--pyi_out={target}",
            f"--grpc_python_out={target}",
            *sources,
        ]
    )
    if status != 0:
        sys.exit(f"protoc failed with status {status}")


def drift(fresh: Path) -> list[str]:
    """Names of committed stubs that are missing, different or no longer generated."""
    committed = {path.name: path for path in (ROOT / "weir/api/v1").glob("*_pb2*")}
    generated = {path.name: path for path in (fresh / "weir/api/v1").glob("*_pb2*")}
    return sorted(
        name
        for name in committed.keys() | generated.keys()
        if name not in committed
        or name not in generated
        or committed[name].read_bytes() != generated[name].read_bytes()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    if not parser.parse_args().check:
        generate(ROOT)
        return
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        if names := drift(Path(folder)):
            sys.exit(f"stubs differ from proto/: {', '.join(names)}; run `make stubs`")


if __name__ == "__main__":
    main()
