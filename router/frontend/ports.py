"""What the HTTP data plane needs from the rest of the router, and its settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from router.core.explain import ExplainedFlight, Refused
from router.core.flight import Flight
from router.core.request import Leg, RequestProfile, Route, Shed, Wait
from router.frontend.hints import Ignored
from weir.domain.ids import WorkerId

__all__ = ["FrontendSettings", "KeptKv", "Meter", "NoMeter", "ServicePort"]

_NOBODY: frozenset[WorkerId] = frozenset()


class ServicePort(Protocol):
    """Decisions and accounting; `router.service.RouterService` says what each call means."""

    def estimate_isl(
        self, model: str, tenant: str, prompt_bytes: int, exact_tokens: int | None = None
    ) -> int: ...

    def reuses(self, model: str) -> bool: ...

    @property
    def reads_kv_events(self) -> bool: ...

    @property
    def canaries(self) -> frozenset[str]: ...

    def canary(self, name: str) -> str: ...

    def open(self, profile: RequestProfile, now_s: float) -> Flight: ...

    def open_explained(self, profile: RequestProfile, now_s: float) -> ExplainedFlight: ...

    def explain_refusal(self, profile: RequestProfile) -> Refused | None: ...

    async def place(
        self,
        flight: Flight,
        exclude: frozenset[WorkerId] = _NOBODY,
        prefilled: Leg | None = None,
    ) -> Route | Shed: ...

    def decide(
        self,
        profile: RequestProfile,
        now_s: float,
        exclude: frozenset[WorkerId] = _NOBODY,
        prefilled: Leg | None = None,
    ) -> Route | Wait: ...

    def models(self) -> Sequence[str]: ...

    def ready(self) -> str | None: ...


class KeptKv(StrEnum):
    """What becomes of KV that a prefill leg has left for a decode leg that will not come."""

    RELEASED = "released"
    """A decode worker has taken it over, for nobody."""

    STRANDED = "stranded"
    """It may stay at its engine until that one's own time-out."""


class Meter(Protocol):
    """Counts what has no flight, or what a flight does not tell."""

    def rejected(self, status: int) -> None:
        """A request was refused with this status before it was routed."""

    def recomputed(self) -> None:
        """A prefill leg returned no transfer parameters, so the decode leg computes again."""

    def kept_kv(self, how: KeptKv) -> None:
        """A request ended, or began anew, after its prefill leg and before its decode leg."""

    def hint_ignored(self, name: str, why: Ignored) -> None:
        """A request said this, and it was not followed. `name` is one of few."""


class NoMeter:
    """Counts nothing."""

    def rejected(self, status: int) -> None: ...

    def recomputed(self) -> None: ...

    def kept_kv(self, how: KeptKv) -> None: ...

    def hint_ignored(self, name: str, why: Ignored) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendSettings:
    """Times are wall seconds."""

    max_body_bytes: int = 16 * 1024 * 1024
    connect_timeout_s: float = 2.0
    first_byte_timeout_s: float = 120.0
    """From the first leg's start to the first byte for the client, retries included."""
    idle_timeout_s: float = 60.0
    """Silence of a worker within a response, and of a client between two requests."""
    max_attempts: int = 3
    """Routes tried for one request before its failure is the client's."""
    explain: bool = False
    """Tell clients who ask how their request was routed."""
