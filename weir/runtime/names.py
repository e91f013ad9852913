"""NATS subjects, buckets and streams of one fleet, in one place.

docs/reference/messages.md lists them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from weir.domain.ids import PoolId, RouterId, WorkerId

__all__ = [
    "PLAN_KEY",
    "RECORD_KEY",
    "BoundedStream",
    "alone_key",
    "decisions_stream",
    "decisions_subject",
    "fpm_subject",
    "ledger_bucket",
    "load_subject",
    "members_bucket",
    "plan_bucket",
    "traffic_subject",
]

PLAN_KEY = "plan"
"""Key of the RoutingPlan in the plan bucket."""

RECORD_KEY = "record"
"""Key of the LedgerRecord in the ledger bucket."""

_DECISIONS_AGE_S = 7 * 24 * 3600.0
_DECISIONS_BYTES = 128 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundedStream:
    """A JetStream stream and what it may hold; beyond that the oldest messages go."""

    name: str
    subjects: tuple[str, ...]
    """What it stores; wildcards as NATS has them."""
    max_age_s: float
    max_bytes: int


def traffic_subject(fleet: str, router_id: RouterId | str = "*") -> str:
    """Where one router publishes its TrafficSamples; all routers by default."""
    return f"weir.{fleet}.traffic.{router_id}"


def load_subject(fleet: str, router_id: RouterId | str = "*") -> str:
    """Where the processes of one router publish their RouterLoad; all routers by default."""
    return f"weir.{fleet}.load.{router_id}"


def fpm_subject(fleet: str, pool_id: PoolId | str = "*", worker_id: WorkerId | str = "*") -> str:
    """Where one worker publishes its ForwardPassSamples; all workers by default."""
    return f"weir.{fleet}.fpm.{pool_id}.{worker_id}"


def members_bucket(fleet: str) -> str:
    """Bucket of PoolMembers by pool id."""
    return _prefixed(fleet, "members")


def plan_bucket(fleet: str) -> str:
    """Bucket of the RoutingPlan."""
    return _prefixed(fleet, "plan")


def ledger_bucket(fleet: str) -> str:
    """Bucket of the GlobalPlanner's durable state."""
    return _prefixed(fleet, "ledger")


def alone_key(pools: Iterable[PoolId]) -> str:
    """Key of the LedgerRecord of a planner that runs alone, in the ledger bucket."""
    return ".".join(("alone", *sorted(pools)))


def decisions_stream(fleet: str) -> BoundedStream:
    """What the GlobalPlanners have decided, newest last."""
    return BoundedStream(
        name=_prefixed(fleet, "decisions"),
        subjects=(decisions_subject(fleet),),
        max_age_s=_DECISIONS_AGE_S,
        max_bytes=_DECISIONS_BYTES,
    )


def decisions_subject(fleet: str, kind: str = "*") -> str:
    """Where decisions of one kind, one word, are recorded; of all kinds by default."""
    return f"weir.{fleet}.decisions.{kind}"


def _prefixed(fleet: str, what: str) -> str:
    return f"weir_{fleet.replace('-', '_')}_{what}"
