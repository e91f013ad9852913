"""Pools that may have no replica, through real processes."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import FLEETS, Fleet

Start = Callable[..., Fleet]

SETS = [
    f"spec.pools.{name}={value}"
    for i in range(2)
    for name, value in (
        (f"{i}.min_replicas", 0),
        (f"{i}.scale_to_zero_after_s", 70),
        (f"{i}.start_up_s", 20),
    )
] + ["spec.router.queue_timeout_s=900"]


def ask(fleet: Fleet) -> int:
    body = {"model": "demo-model", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}
    request = urllib.request.Request(
        f"http://{fleet.endpoint}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=90.0) as response:
            answer = json.loads(response.read())
    except urllib.error.HTTPError as error:
        pytest.fail(f"{error}: {error.read().decode()}\n{fleet.said()}")
    return int(answer["usage"]["completion_tokens"])


@pytest.mark.timeout(300)
def test_a_pair_of_pools_starts_from_nothing_with_a_request_and_ends_when_idle(
    fleet: Start, tmp_path: Path
) -> None:
    sets = [word for each in SETS for word in ("--set", each)]
    document = str(FLEETS / "disagg.yaml")
    none = fleet("--fleet", document, "--no-replay", "--speed", "10", *sets)
    assert none.endpoint
    assert none.engines() == []
    assert none.get("/readyz")[0] == 200
    assert ask(none) == 8
    assert len(none.engines("prefill")) >= 1 and len(none.engines("decode")) >= 1
    none.until(lambda: not none.engines(), 90.0, "all engines have ended")
    assert ask(none) == 8
