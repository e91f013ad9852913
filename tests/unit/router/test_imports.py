import subprocess
import sys

HEAVY = ("aiohttp", "grpc", "nats", "numpy", "scipy")
STARTED = "import sys, weir.cli.router, weir.cli.gridded, router.app, router.processes.app"


def _imported(code: str) -> list[str]:
    code += f"; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_what_only_some_routers_need_is_not_imported_by_all() -> None:
    """They take 40 MiB; a router without NATS and gRPC has the room for its streams."""
    assert _imported(STARTED) == []


def test_aiohttp_is_for_nats_over_websockets_only() -> None:
    bus = "from router.adapters.nats import bus_class"
    assert _imported(f"{STARTED}; {bus}; bus_class('nats://a:1,b:2')") == ["nats"]
    assert _imported(f"{STARTED}; {bus}; bus_class('nats://a:1,wss://b')") == ["aiohttp", "nats"]
