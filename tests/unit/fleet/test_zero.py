"""What `weir check` says of pools that may have no replica."""

from pathlib import Path

from tests.unit.fleet.documents import MINIMAL
from weir.fleet import check, load


def _findings(folder: Path, *sets: str) -> list[str]:
    path = folder / "fleet.yaml"
    path.write_text(MINIMAL)
    return [str(found) for found in check(load(path, sets))]


def test_a_pool_keeps_a_replica_unless_its_document_says_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(MINIMAL)
    assert [pool.min_replicas for pool in load(path).fleet.pools] == [1, 1]


def test_requests_must_be_able_to_wait_for_the_first_replica(tmp_path: Path) -> None:
    zero = ["spec.pools.0.min_replicas=0", "spec.pools.0.start_up_s=58"]
    assert _findings(tmp_path, *zero) == []
    assert _findings(tmp_path, *zero, "spec.router={no_endpoints_timeout_s: 60}") == [
        "--set spec.pools.0.min_replicas=0: spec.pools.p.min_replicas: lets it have no replica, "
        "and a start takes 58 s: requests wait 60 s for one (spec.router.no_endpoints_timeout_s); "
        "let them wait 63 s, or keep a replica"
    ]
    assert _findings(tmp_path, *zero, "spec.router={no_endpoints_timeout_s: 63}") == []


def test_an_idle_time_without_a_minimum_of_0_is_ignored(tmp_path: Path) -> None:
    assert _findings(tmp_path, "spec.pools.0.scale_to_zero_after_s=60") == [
        "--set spec.pools.0.scale_to_zero_after_s=60: spec.pools.p.scale_to_zero_after_s: "
        "is ignored: min_replicas is 1"
    ]
