"""Dynamo's scale request and reply as JSON."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from globalplanner.core.dynamo.scale_request import ScaleReply, ScaleRequest, Target
from weir.domain.fleet import Stage

__all__ = ["decode_scale_request", "encode_scale_reply"]

_MOST_FINDINGS = 5
_Name = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[!-~]+$")]


class _Message(BaseModel):
    """Fields that later versions of Dynamo may add are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class _Target(_Message):
    sub_component_type: Literal["prefill", "decode"]
    component_name: _Name | None = None
    desired_replicas: Annotated[int, Field(strict=True, ge=0, le=1_000_000)]


class _Request(_Message):
    caller_namespace: _Name
    graph_deployment_name: _Name
    k8s_namespace: _Name
    target_replicas: Annotated[tuple[_Target, ...], Field(min_length=1, max_length=16)]
    blocking: Annotated[bool, Field(strict=True)] = False
    timestamp: Annotated[float, Field(ge=0.0, le=1e12)] | None = None
    predicted_load: dict[str, Any] | None = None


def decode_scale_request(body: bytes | str) -> ScaleRequest:
    """Raises `ValueError` naming the fields that are wrong."""
    try:
        message = _Request.model_validate_json(body)
    except ValidationError as error:
        raise ValueError("; ".join(_findings(error)[:_MOST_FINDINGS])) from None
    return ScaleRequest(
        caller_namespace=message.caller_namespace,
        k8s_namespace=message.k8s_namespace,
        deployment=message.graph_deployment_name,
        targets=tuple(
            Target(component=Stage(target.sub_component_type), replicas=target.desired_replicas)
            for target in message.target_replicas
        ),
        blocking=message.blocking,
        timestamp_s=message.timestamp,
    )


def encode_scale_reply(reply: ScaleReply) -> bytes:
    return json.dumps(
        {
            "status": reply.status,
            "message": reply.message,
            "current_replicas": {str(key): count for key, count in reply.current_replicas.items()},
        }
    ).encode()


def _findings(error: ValidationError) -> list[str]:
    """One line each, but for what is wrong only because of something within it."""
    errors = error.errors(include_url=False, include_context=False)
    within = {each["loc"][:depth] for each in errors for depth in range(len(each["loc"]))}
    return [_finding(each) for each in errors if each["loc"] not in within]


def _finding(details: Any) -> str:
    where = "".join(
        f"[{step}]" if isinstance(step, int) else f".{step}" for step in details["loc"]
    ).lstrip(".")
    value = details["input"]
    given = f", not {value!r:.60}" if isinstance(value, int | float | str) and where else ""
    return f"{where or 'the request'}: {details['msg']}{given}"
