"""Fetches what a Dynamo worker has measured of itself, as a file for `profiles.NAME.file`.

Runs in Dynamo's image, where the worker can be discovered, and needs nothing of weir:

    python self_benchmark.py prod.backend > benchmark_results_backend.json

The worker must have been started with `--benchmark-mode`. It is asked for
`{NAMESPACE}.{COMPONENT}.get_perf_metrics` on Dynamo's request plane.
"""

import argparse
import asyncio
import json
import sys
from typing import Any

__all__ = ["fetched", "main"]


async def fetched(runtime: Any, component: str, *, timeout_s: float) -> dict[str, Any]:
    """The worker's answer. Raises `RuntimeError` if it has none, `TimeoutError` if it is late."""
    async with asyncio.timeout(timeout_s):
        client = await runtime.endpoint(f"{component}.get_perf_metrics").client()
        if not client.instance_ids():
            await client.wait_for_instances()
        async for answer in await client.round_robin(None):
            data = answer.data()
            found = json.loads(data) if isinstance(data, str | bytes) else data
            if isinstance(found, dict) and isinstance(found.get("results"), list):
                return found
            why = found.get("message", found) if isinstance(found, dict) else found
            raise RuntimeError(f"{component} has no benchmark: {why}")
    raise RuntimeError(f"{component} gives no answer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("component", help="the worker, as NAMESPACE.COMPONENT")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds, default %(default)s")
    arguments = parser.parse_args()
    asyncio.run(_fetch(arguments.component, arguments.timeout))


async def _fetch(component: str, timeout_s: float) -> None:
    from dynamo.runtime import DistributedRuntime, dynamo_worker

    @dynamo_worker()
    async def fetch(runtime: DistributedRuntime) -> None:
        json.dump(await fetched(runtime, component, timeout_s=timeout_s), sys.stdout)

    await fetch()


if __name__ == "__main__":
    main()
