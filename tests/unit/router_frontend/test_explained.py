"""The explanation as a client reads it."""

import json

from router.core.request import Route, Shed, ShedReason, WaitReason
from router.frontend.explained import explanation
from router.frontend.hints import Hints, Ignored
from tests.unit.router.builders import members, pool, request, service
from weir.domain.fleet import Role


def test_it_says_what_was_understood_decided_and_why() -> None:
    router = service((pool("a", Role.AGG), pool("b", Role.AGG)), members("a", "w"))
    hints = Hints(
        sources={"itl_s": "x-slo-tpot-ms"}, ignored=[("x-slo-ttft-ms", Ignored.MALFORMED)]
    )
    flight = router.open_explained(request(100, itl_s=2.0), 0.0)
    route = router.decide(flight.profile, 0.25)
    assert isinstance(route, Route)
    flight.sent(route, 0.25)
    assert json.loads(explanation(flight, hints)) == {
        "model": "tiny",
        "class": "all",
        "priority": 0,
        "isl": 100,
        "isl_exact": False,
        "osl": 50,
        "ttft_target_ms": 100_000.0,
        "itl_target_ms": 2000.0,
        "hints": ["x-slo-tpot-ms"],
        "ignored": {"x-slo-ttft-ms": "malformed"},
        "waited_ms": 250.0,
        "why": "share",
        "routes": 1,
        "prefill": None,
        "decode": "a/w",
        "pools": [
            {"pool": "a", "verdict": "fits", "share": 1.0, "ttft_ms": 350.0, "itl_ms": 10.0},
            {"pool": "b", "verdict": "no_worker", "share": 0.0},
        ],
    }


def test_who_is_shed_is_told_what_it_waited_for() -> None:
    router = service((pool("a", Role.AGG),))
    flight = router.open_explained(request(), 0.0)
    flight.see_pools(3.0)
    shed = Shed(
        request_class=flight.request_class,
        reason=ShedReason.QUEUE_TIMEOUT,
        waited_for=WaitReason.NO_WORKER,
        retry_after_s=1.0,
    )
    told = json.loads(explanation(flight, Hints(), shed))
    assert (told["why"], told["waited_for"]) == ("queue_timeout", "no_worker")
    assert (told["waited_ms"], "decode" in told) == (3000.0, False)


def test_many_pools_do_not_make_it_too_long_for_a_head_and_the_taken_one_is_told() -> None:
    specs = [pool(f"a-pool-with-a-long-name-{n}", Role.AGG) for n in range(100)]
    router = service(specs, members(specs[77].id, "w"))
    flight = router.open_explained(request(), 0.0)
    route = router.decide(flight.profile, 0.0)
    assert isinstance(route, Route)
    flight.sent(route, 0.0)
    line = explanation(flight, Hints())
    told = json.loads(line)
    assert len(line) < 3200
    assert told["pools"][0]["pool"] == specs[77].id
    assert told["more"] + len(told["pools"]) == 100
