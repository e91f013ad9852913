"""What a pool planner makes of the Fleet document."""

from dataclasses import replace
from pathlib import Path

import pytest

from poolplanner.parts import pace_of, percentile_of, reporter_of, stages_of
from tests.unit.globalplanner.fleets import pool
from weir.domain.fleet import RequestClass, Slo, Statistic, TokenRange
from weir.domain.ids import ClassName, PoolId
from weir.domain.planning import Grant
from weir.fleet import load

PLANNER = "spec.planner.telemetry"


@pytest.mark.parametrize(("max_implied", "started"), [(False, 4), (True, 9)])
def test_a_maximum_that_is_not_given_does_not_stand_in_the_way_of_a_budget_raised_live(
    max_implied: bool, started: int
) -> None:
    spec = replace(pool("a", max_replicas=4), max_implied=max_implied)
    pace = pace_of(spec, settle_s=1.0, unsettled_s=10.0)
    grant = Grant(pool_id=PoolId("a"), term=1, epoch=1, replicas=9, valid_s=15.0)
    assert pace.offer(grant, sent_at_s=0.0) is None
    pace.see([], 0.0)
    assert pace.step([], 0.0).start == started


FLEET = """\
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: pond}
spec:
  models: [{name: m}]
  budget: {gpus: 8}
  pools:
    - {name: first, role: prefill, model: m}
    - {name: second, role: decode, model: m}
    - {name: both, role: agg, model: m}
"""


@pytest.mark.parametrize(
    ("name", "peers"),
    [("first", {"first", "both"}), ("second", {"second", "both"}), ("both", {"first", "both"})],
)
def test_requests_enter_where_prompts_are_read_and_peers_do_the_same_stage(
    tmp_path: Path, name: str, peers: set[str]
) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET)
    fleet = load(tmp_path / "fleet.yaml").fleet
    stages = stages_of(fleet.pool(PoolId(name)), fleet)
    assert (stages.enter, stages.peers) == ({"first", "both"}, peers)


def test_latencies_are_reported_at_the_highest_percentile_or_in_the_mean() -> None:
    slo, kept = Slo(ttft_s=1.0, itl_s=0.1), []
    mean = replace(slo, statistic=Statistic.MEAN)
    for slos in ([slo, replace(slo, percentile=0.99), mean], [mean, mean]):
        classes = [
            RequestClass(
                name=ClassName("a"), isl_tokens=TokenRange(), osl_tokens=TokenRange(), slo=each
            )
            for each in slos
        ]
        kept.append(percentile_of(classes))
    assert kept == [0.99, None]


def test_what_prometheus_tells_is_of_this_pool_and_as_old_as_its_scrapes(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET)
    telemetry = {}
    for sets in ([], [f"{PLANNER}.source=prometheus", f"{PLANNER}.url=http://x:9090"]):
        loaded = load(tmp_path / "fleet.yaml", sets)
        spec = loaded.fleet.pool(PoolId("first"))
        telemetry[bool(sets)] = reporter_of(spec, loaded, speed=1.0).telemetry
    assert telemetry[False].stages is not None and telemetry[False].stale_s == 15.0
    assert telemetry[True].stages is None and telemetry[True].stale_s == 37.5
