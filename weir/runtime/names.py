"""NATS subjects and buckets of one fleet, in one place. docs/reference/messages.md lists them."""

from weir.domain.ids import PoolId, RouterId, WorkerId

__all__ = [
    "PLAN_KEY",
    "TERM_KEY",
    "fpm_subject",
    "ledger_bucket",
    "members_bucket",
    "plan_bucket",
    "traffic_subject",
]

PLAN_KEY = "plan"
"""Key of the RoutingPlan in the plan bucket."""

TERM_KEY = "term"
"""Key of the newest GlobalPlanner term (decimal text) in the ledger bucket."""


def traffic_subject(fleet: str, router_id: RouterId | str = "*") -> str:
    """Where one router publishes its TrafficSamples; all routers by default."""
    return f"weir.{fleet}.traffic.{router_id}"


def fpm_subject(fleet: str, pool_id: PoolId | str = "*", worker_id: WorkerId | str = "*") -> str:
    """Where one worker publishes its ForwardPassSamples; all workers by default."""
    return f"weir.{fleet}.fpm.{pool_id}.{worker_id}"


def members_bucket(fleet: str) -> str:
    """Bucket of PoolMembers by pool id."""
    return _bucket(fleet, "members")


def plan_bucket(fleet: str) -> str:
    """Bucket of the RoutingPlan."""
    return _bucket(fleet, "plan")


def ledger_bucket(fleet: str) -> str:
    """Bucket of the GlobalPlanner's durable state."""
    return _bucket(fleet, "ledger")


def _bucket(fleet: str, what: str) -> str:
    return f"weir_{fleet.replace('-', '_')}_{what}"
