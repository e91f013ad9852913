"""Lets unmodified Dynamo planners send their scale requests to weir's GlobalPlanner.

Runs in Dynamo's image, best beside `weir global-planner` in one pod, and needs nothing of weir:

    DYN_NAMESPACE=gp-ctrl python scale_bridge.py --url http://127.0.0.1:9100 --token-file FILE

It serves `{DYN_NAMESPACE}.GlobalPlanner.scale_request` and `.health` on Dynamo's request plane and
passes what comes to weir over HTTP. Planners find it by `global_planner_namespace: gp-ctrl`.
"""

import argparse
import asyncio
import json
import os
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

__all__ = ["Weir", "main"]

_LONGEST_S = 1900.0
"""A blocking request is answered after half an hour at the latest."""

_MOST_AT_ONCE = 256


class Weir:
    """The GlobalPlanner's control endpoint."""

    def __init__(self, url: str, token_file: Path) -> None:
        self._url = url.rstrip("/")
        self._token_file = token_file
        self._threads = ThreadPoolExecutor(_MOST_AT_ONCE)
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    async def scale(self, request: Any) -> AsyncIterator[dict[str, Any]]:
        """One reply to one scale request, which comes as JSON text."""
        text = request if isinstance(request, str) else json.dumps(request)
        yield await self._ask("/dynamo/scale_request", text.encode())

    async def health(self, request: Any) -> AsyncIterator[dict[str, Any]]:
        """How weir's GlobalPlanner is, whatever the request says."""
        yield await self._ask("/dynamo/health", None)

    async def _ask(self, path: str, body: bytes | None) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._call, path, body)

    def _call(self, path: str, body: bytes | None) -> dict[str, Any]:
        token = self._token_file.read_text().strip()
        call = urllib.request.Request(
            self._url + path,
            data=body,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        try:
            with self._opener.open(call, timeout=_LONGEST_S) as answer:
                reply: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            reply = json.load(error)
        except (OSError, ValueError) as error:
            why = f"weir's GlobalPlanner at {self._url} does not answer: {error}"
            reply = {"status": "error", "message": why, "current_replicas": {}}
        return reply


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="control endpoint of weir global-planner")
    parser.add_argument("--token-file", required=True, type=Path, help="bearer token to show")
    arguments = parser.parse_args()
    asyncio.run(_serve(Weir(arguments.url, arguments.token_file)))


async def _serve(weir: Weir) -> None:
    from dynamo.runtime import DistributedRuntime, dynamo_worker

    @dynamo_worker()
    async def serve(runtime: DistributedRuntime) -> None:
        name = f"{os.environ['DYN_NAMESPACE']}.GlobalPlanner"
        await asyncio.gather(
            runtime.endpoint(f"{name}.scale_request").serve_endpoint(weir.scale),
            runtime.endpoint(f"{name}.health").serve_endpoint(weir.health),
        )

    await serve()


if __name__ == "__main__":
    main()
