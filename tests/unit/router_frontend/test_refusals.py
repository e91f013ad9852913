"""What clients are told that are shed."""

from dataclasses import replace

import orjson
import pytest

from router.core.request import Shed, ShedReason, WaitReason
from router.frontend.refusals import SHUTTING_DOWN, refused
from tests.unit.router.builders import request_class

CLASS = request_class("chat")


def _shed(reason: ShedReason, *, sheds_late: bool = False, **changes: WaitReason) -> Shed:
    return replace(
        Shed(
            request_class=replace(CLASS, sheds_late=sheds_late),
            reason=reason,
            waited_for=WaitReason.NO_ROOM,
            retry_after_s=12.0,
        ),
        **changes,
    )


@pytest.mark.parametrize("reason", ShedReason)
def test_every_reason_is_told_in_both_names_and_when_to_come_back(reason: ShedReason) -> None:
    status, headers, body = refused(_shed(reason))
    told = dict(headers)
    assert told[b"x-weir-dropped-reason"].decode() == reason
    assert told[b"x-llm-d-request-dropped-reason"].split(b"-")[0] in (b"rejected", b"evicted")
    assert told[b"retry-after"] == b"12"
    assert reason.value in orjson.loads(body)["error"]["message"]
    assert status in (429, 503)


@pytest.mark.parametrize(
    ("shed", "status"),
    [
        (_shed(ShedReason.QUEUE_FULL), 503),
        (_shed(ShedReason.QUEUE_TIMEOUT), 503),
        (_shed(ShedReason.DISPLACED), 503),
        (_shed(ShedReason.CLASS_FULL), 429),
        (_shed(ShedReason.TOO_LATE, sheds_late=True), 429),
        (_shed(ShedReason.QUEUE_FULL, sheds_late=True), 429),
        (_shed(ShedReason.NO_ENDPOINTS, sheds_late=True, waited_for=WaitReason.NO_WORKER), 503),
        (_shed(ShedReason.CLASS_FULL, waited_for=WaitReason.NO_WORKER), 503),
    ],
)
def test_what_a_class_may_have_is_429_and_what_the_fleet_has_not_is_503(
    shed: Shed, status: int
) -> None:
    found, _, body = refused(shed)
    assert found == status
    code = {429: "rate_limit_exceeded", 503: "overloaded"}[status]
    assert orjson.loads(body)["error"]["code"] == code


def test_a_router_that_shuts_down_says_so() -> None:
    assert dict(SHUTTING_DOWN)[b"x-llm-d-request-dropped-reason"] == b"rejected-shutting-down"
