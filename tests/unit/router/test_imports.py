import subprocess
import sys

HEAVY = ("aiohttp", "grpc", "nats", "numpy", "scipy")
STARTED = "import sys, weir.cli.router, weir.cli.gridded, router.app, router.processes.app"


def test_what_only_some_routers_need_is_not_imported_by_all() -> None:
    """They take 40 MiB; a router without NATS and gRPC has the room for its streams."""
    code = f"{STARTED}; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
