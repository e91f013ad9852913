"""What pools are sized by, as the document says or as it is by default."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from weir.domain.fleet import PoolSpec
from weir.domain.targets import Target, Thresholds
from weir.fleet import inspect

FLEET = """
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: test}
spec:
  models: [{name: m}]
  budget: {gpus: 8}
  profiles: {engine: {}}
  pools:
    - {name: prefill, role: prefill, model: m, context_limit_tokens: 10000}
    - {name: decode, role: decode, model: m, context_limit_tokens: 10000}
"""


def read(tmp_path: Path, *sets: str) -> tuple[Sequence[PoolSpec], list[str]]:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    loaded, findings = inspect(path, [f"spec.{each}" for each in sets])
    told = [str(found) for found in findings if "no pool uses it" not in str(found)]
    return loaded.fleet.pools if loaded is not None else (), told


def test_presets_are_those_of_the_role_by_the_longest_context(tmp_path: Path) -> None:
    pools, _ = read(tmp_path, "planner.target=throughput")
    assert [pool.thresholds for pool in pools] == [
        Thresholds(target=Target.THROUGHPUT, up=10_000, down=1000, down_included=False),
        Thresholds(
            target=Target.THROUGHPUT, up=1.0, down=0.6, up_included=False, down_included=False
        ),
    ]
    pools, _ = read(tmp_path, "planner.target=latency")
    assert [pool.thresholds for pool in pools] == [
        Thresholds(target=Target.LATENCY, up=1000, down=0),
        Thresholds(target=Target.LATENCY, up=0.4, down=0.1, up_included=False, down_included=False),
    ]


def test_a_pool_has_its_own_target_and_its_own_thresholds(tmp_path: Path) -> None:
    pools, findings = read(
        tmp_path,
        "planner.target=load",
        "planner.load={up_queued_tokens: 500, down_queued_tokens: 0}",
        "pools.decode.load={up_share: 0.9, down_share: 0.4}",
    )
    assert findings == []
    assert [pool.thresholds for pool in pools] == [
        Thresholds(target=Target.LOAD, up=500, down=0),
        Thresholds(target=Target.LOAD, up=0.9, down=0.4),
    ]
    pools, _ = read(tmp_path, "planner.target=latency", "pools.decode.target=sla")
    assert [pool.target for pool in pools] == [Target.LATENCY, Target.SLA]


@pytest.mark.parametrize(
    ("sets", "target"),
    [
        ((), Target.SLA),
        (("planner.telemetry.engines=dynamo",), Target.SLA),
        (("planner.telemetry.engines=scrape",), Target.THROUGHPUT),
        (("planner.telemetry.engines=scrape", "pools.decode.profile=engine"), Target.SLA),
    ],
)
def test_by_default_it_is_sla_where_something_tells_what_a_replica_does(
    tmp_path: Path, sets: tuple[str, ...], target: Target
) -> None:
    pools, _ = read(tmp_path, *sets)
    assert [pool.target for pool in pools] == [target, target]


@pytest.mark.parametrize(
    ("sets", "found"),
    [
        (
            ("pools.decode.target=load",),
            "pool 'decode': target load needs up_share and down_share",
        ),
        (
            ("pools.prefill.target=load", "planner.load={up_queued_tokens: 5}"),
            "pool 'prefill': target load needs up_queued_tokens and down_queued_tokens",
        ),
        (
            ("pools.decode.target=load", "planner.load={up_share: 0.4, down_share: 0.4}"),
            "down_share must be below up_share, is 0.4 and 0.4",
        ),
        (
            ("pools.decode.target=latency", "pools.decode.dynamo.deployment=d"),
            "its Dynamo planner sizes it: leave out `target` or `dynamo`",
        ),
    ],
)
def test_thresholds_that_are_missing_or_overlap_are_told(
    tmp_path: Path, sets: tuple[str, ...], found: str
) -> None:
    _, findings = read(tmp_path, *sets)
    assert any(found in each for each in findings), findings


def test_a_dynamo_planners_pool_has_no_thresholds(tmp_path: Path) -> None:
    pools, findings = read(tmp_path, "planner.target=latency", "pools.decode.dynamo.deployment=d")
    assert findings == []
    assert [pool.target for pool in pools] == [Target.LATENCY, Target.SLA]


def test_pools_that_share_a_stage_are_all_sla_or_none_is(tmp_path: Path) -> None:
    more = FLEET + "    - {name: agg, role: agg, model: m, target: throughput}\n"
    path = tmp_path / "fleet.yaml"
    path.write_text(more)
    loaded, findings = inspect(path)
    assert loaded is None
    assert any(
        "is throughput, but 'prefill', which shares the prefill work of model 'm', has sla"
        in str(each)
        for each in findings
    )
    loaded, _ = inspect(path, ["spec.planner.target=latency"])
    assert loaded is not None
