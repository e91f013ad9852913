"""What one GlobalPlanner process is told, besides the Fleet document."""

from weir.fleet.settings import Address, Seconds, StrictModel

__all__ = ["GlobalPlannerConfig"]


class GlobalPlannerConfig(StrictModel):
    listen: Address = "127.0.0.1:7000"
    """Where pool planners report, over gRPC."""

    nats: str
    """URL of the NATS server."""

    control: Address = "127.0.0.1:0"
    """Where /livez, /readyz and /metrics are served."""

    lease_s: Seconds = 4.0
    """Wall seconds without a sign of the leader after which another GlobalPlanner takes over."""

    refresh_s: Seconds = 5.0
    """Wall seconds after which an unchanged routing plan is written again."""
