"""Whether inputs were the same can be told from their fingerprint, and only then."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from globalplanner.core.arbiter.snapshot import Rules, Snapshot
from globalplanner.core.budget.limits import limits_of
from globalplanner.core.digest import digest_of
from tests.unit.globalplanner.fleets import CHAT, LONG, fleet, load, pool, request_class, view
from weir.domain.fleet import NodeGroup

CLASSES = (request_class("chat"), request_class("long"))
NODES = (NodeGroup(name="nodes", gpu_class="gpu", gpus=6),)


def inputs(*, reverse: bool = False, **changes: Any) -> Snapshot:
    """Three pools, two classes and two limits, in one order or the other."""

    def turned(items: Any) -> Any:
        return tuple(reversed(items)) if reverse else tuple(items)

    specs = [pool("a"), pool("b"), pool("c")]
    whole = fleet(specs, gpus=8, classes=CLASSES, node_groups=NODES)
    fields: dict[str, Any] = {
        "now_s": 10.0,
        "classes": turned(CLASSES),
        "pools": turned(
            [view(s, capacity_rps=dict(turned([(CHAT, 5.0), (LONG, 1.0)]))) for s in specs]
        ),
        "limits": turned(limits_of(whole)),
        "loads": dict(turned([(CHAT, load(3.0)), (LONG, load(1.0, "long"))])),
    }
    return Snapshot(**(fields | changes))


def test_order_of_pools_classes_limits_and_keys_does_not_matter() -> None:
    assert digest_of(inputs(), Rules()) == digest_of(inputs(reverse=True), Rules())


def first_pool(**changes: Any) -> dict[str, Any]:
    first, *others = inputs().pools
    return {"pools": (replace(first, **changes), *others)}


@pytest.mark.parametrize(
    "changes",
    [
        {"now_s": 10.5},
        {"loads": None},
        {"holding": "another reason"},
        {"loads": {CHAT: load(3.0)}},
        {"loads": {CHAT: load(3.0), LONG: load(1.0000001, "long")}},
        {"classes": CLASSES[:1]},
        {"classes": (request_class("chat", weight=2.0), CLASSES[1])},
        {"pools": inputs().pools[:2]},
        {"limits": inputs().limits[:1]},
        {"limits": (replace(inputs().limits[0], most=7), *inputs().limits[1:])},
        {"limits": (replace(inputs().limits[0], pools=frozenset()), *inputs().limits[1:])},
        first_pool(replicas=2),
        first_pool(ready=0),
        first_pool(backlog_replica_s=None),
        first_pool(backlog_replica_s=0.5),
        first_pool(held="silent for 20 s"),
        first_pool(capacity_rps={CHAT: 5.0}),
        first_pool(load_rps={CHAT: 1.0}),
        first_pool(spec=pool("a", max_replicas=5)),
    ],
    ids=lambda changes: "-".join(changes),
)
def test_any_input_that_changes_shows(changes: dict[str, Any]) -> None:
    assert digest_of(inputs(**changes), Rules()) != digest_of(inputs(), Rules())


def test_rules_that_change_show() -> None:
    assert digest_of(inputs(), Rules(utilization=0.7)) != digest_of(inputs(), Rules())


def test_another_process_with_another_hash_seed_finds_the_same() -> None:
    program = (
        "from tests.unit.globalplanner.test_digest import inputs, digest_of, Rules;"
        "print(digest_of(inputs(), Rules()))"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=True, timeout=30,
        ).stdout.strip()
        for seed in ("1", "2")
    ]  # fmt: skip
    assert found == [digest_of(inputs(), Rules())] * 2
