"""What a client is told whose request the router does not serve for want of room or time.

429 where it is what its class may have that lacks, 503 where there is no capacity. The reason is in
headers: `x-weir-dropped-reason`, and llm-d's name for it.
"""

from router.core.request import Shed, ShedReason
from weir.http1.messages import Header
from weir.http1.openai import error_headers, openai_error

__all__ = ["SHUTTING_DOWN", "refused"]

_SATURATED = "rejected-saturated"
_LLM_D = {
    ShedReason.QUEUE_FULL: _SATURATED,
    ShedReason.CLASS_FULL: _SATURATED,
    ShedReason.TOO_LATE: _SATURATED,
    ShedReason.DISPLACED: "evicted-queue-pressure",
    ShedReason.QUEUE_TIMEOUT: "rejected-ttl-expired",
    ShedReason.NO_ENDPOINTS: "rejected-no-endpoints",
    ShedReason.NO_PREFILL: "rejected-no-endpoints",
}
_WHY = {
    ShedReason.QUEUE_FULL: "the queue is full",
    ShedReason.CLASS_FULL: "as many requests of class {name} wait as may",
    ShedReason.TOO_LATE: "requests of class {name} do not wait once they are late",
    ShedReason.DISPLACED: "the queue is full, and its place went to a more urgent one",
    ShedReason.QUEUE_TIMEOUT: "no worker had room in time",
    ShedReason.NO_ENDPOINTS: "no worker became ready in time",
    ShedReason.NO_PREFILL: "no worker is ready that computes prompts",
}


def _reason(ours: str, llm_d: str) -> list[Header]:
    return [
        (b"x-weir-dropped-reason", ours.encode()),
        (b"x-llm-d-request-dropped-reason", llm_d.encode()),
    ]


_REASONS = {reason: _reason(reason.value, _LLM_D[reason]) for reason in ShedReason}

SHUTTING_DOWN = tuple(_reason("shutting_down", "rejected-shutting-down"))


def refused(shed: Shed) -> tuple[int, list[Header], bytes]:
    """Status, headers and body."""
    status, code = (429, "rate_limit_exceeded") if shed.by_rule else (503, "overloaded")
    why = _WHY[shed.reason].format(name=shed.request_class.name)
    message = f"this request was not served ({shed.reason}): {why}; retry later"
    headers = [*error_headers(shed.retry_after_s), *_REASONS[shed.reason]]
    return status, headers, openai_error(status, message, code=code)
