"""What the data plane's benchmark makes of its figures, and of those it has not got."""

from tests.benchmarks.bench_dataplane import AIMS, ratios, spread


def test_a_ratio_is_taken_within_a_round() -> None:
    # 60/30, 50/50 and 90/60; of the medians it would be 60/50.
    samples = {"request": {"weir": [60.0, 50.0, 90.0], "sglang_router": [30.0, 50.0, 60.0]}}
    found = ratios(samples)["request / sglang_router"]
    assert found == {"median": 1.5, "min": 1.0, "max": 2.0}


def test_two_legs_are_measured_in_requests_of_one() -> None:
    samples = {"two_legs": {"weir": [90.0]}, "request": {"weir": [60.0]}}
    found = ratios(samples)["two_legs / request"]
    assert found is not None
    assert found["median"] == 1.5


def test_the_compiled_router_has_ratios_of_its_own() -> None:
    samples = {
        "two_legs": {"weir": [90.0], "compiled": [60.0]},
        "request": {"weir": [60.0], "compiled": [50.0], "sglang_router": [100.0]},
    }
    found = ratios(samples, "compiled")
    assert found["two_legs / request"] == spread([1.2])
    assert found["request / sglang_router"] == spread([0.5])


def test_a_peer_that_is_missing_has_no_ratio() -> None:
    samples = {aim.measure: {"weir": [60.0]} for aim in AIMS if aim.peer is not None}
    assert set(ratios(samples).values()) == {None}
    assert spread([]) is None
