"""Where the simulated roles keep what others look up."""

from weir.domain.ids import PoolId

__all__ = ["PLAN_KEY", "RECORD_KEY", "members_key"]

PLAN_KEY = "plan"
RECORD_KEY = "record"


def members_key(pool_id: PoolId) -> str:
    return f"members/{pool_id}"
