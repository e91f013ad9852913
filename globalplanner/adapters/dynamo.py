"""Scale requests of Dynamo planners over HTTP, on the control endpoint.

Closed unless identities are given: who asks is known by a bearer token, as over gRPC. It is plain
HTTP, so beyond this machine it is closed too, unless that was asked for.
"""

import json

from globalplanner.access.entrance import Entrance, is_loopback
from globalplanner.access.identity import Identity, OpenDoor
from globalplanner.adapters.offers import Door, Store
from globalplanner.adapters.scale_messages import decode_scale_request, encode_scale_reply
from globalplanner.config import GlobalPlannerConfig
from globalplanner.core.dynamo.scale_request import ScaleReply, ScaleStatus
from globalplanner.scale_requests import ScaleRequests
from weir.domain.errors import UnavailableError
from weir.http1.messages import Request
from weir.runtime.address import split_address
from weir.runtime.control import Reply, Routes

__all__ = ["HEALTH_PATH", "SCALE_PATH", "DynamoEndpoint", "door_of"]

SCALE_PATH = "/dynamo/scale_request"
HEALTH_PATH = "/dynamo/health"
_SCHEME = "bearer "


def door_of(config: GlobalPlannerConfig, entrance: Entrance) -> Door | str:
    """Who knows those that may ask; or why nobody may."""
    if isinstance(entrance.door, OpenDoor):
        return "scale requests are closed: this GlobalPlanner has no identities"
    if not is_loopback(split_address(config.control).host) and not config.insecure:
        return "scale requests are closed: tokens could be read on the way to this address"
    return entrance.door


class DynamoEndpoint:
    """`door`: who knows the callers, or why it is closed."""

    def __init__(self, requests: ScaleRequests, door: Door | str, store: Store) -> None:
        self._requests = requests
        self._door = door
        self._store = store

    def routes(self) -> Routes:
        return {("POST", SCALE_PATH): self._scale, ("GET", HEALTH_PATH): self._health}

    async def _scale(self, request: Request) -> Reply:
        caller = self._caller(request)
        if not isinstance(caller, Identity):
            return caller
        try:
            wanted = decode_scale_request(request.body)
        except ValueError as error:
            return _answer(400, encode_scale_reply(self._requests.refuse(str(error), caller)))
        try:
            reply = await self._requests.ask(wanted, caller)
        except UnavailableError as error:
            return _refused(503, str(error))
        status = 400 if reply.status is ScaleStatus.ERROR else 200
        return _answer(status, encode_scale_reply(reply))

    async def _health(self, request: Request) -> Reply:
        caller = self._caller(request)
        if not isinstance(caller, Identity):
            return caller
        health = self._requests.health()
        body = {
            "status": "unhealthy" if health.problem else "healthy",
            "component": "GlobalPlanner",
            "managed_namespaces": self._requests.managed(),
            "leading": health.leading,
            "term": health.term,
            "growing": health.growing,
            "store_connected": self._store.connected,
            "confirmed_age_s": self._store.confirmed_age_s(),
            "traffic_age_s": health.traffic_age_s,
            "report_age_s": health.report_age_s,
            "silent_pools": list(health.silent_pools),
            "problem": health.problem,
        }
        return _answer(503 if health.problem else 200, json.dumps(body).encode())

    def _caller(self, request: Request) -> Identity | Reply:
        if isinstance(self._door, str):
            return _refused(403, self._door)
        header = (request.header(b"authorization") or b"").decode("utf-8", "surrogateescape")
        token = header[len(_SCHEME) :].strip() if header.lower().startswith(_SCHEME) else None
        caller = self._door.of(token, ()) if token else None
        return caller or _refused(401, "a bearer token that is known here is needed")


def _refused(status: int, why: str) -> Reply:
    reply = ScaleReply(status=ScaleStatus.ERROR, message=why, current_replicas={})
    return _answer(status, encode_scale_reply(reply))


def _answer(status: int, body: bytes) -> Reply:
    return Reply(status, body, "application/json")
