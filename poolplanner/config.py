"""What one pool planner process is told, besides the Fleet document."""

from weir.fleet.settings import Address, Seconds, StrictModel

__all__ = ["PoolPlannerConfig"]


class PoolPlannerConfig(StrictModel):
    pool: str
    """Name of the pool in the Fleet document."""

    nats: str
    """URL of the NATS server."""

    global_planner: Address
    """Where the GlobalPlanner takes reports."""

    actuator: Address | None = None
    """Where the LocalActuator listens; a pool with `scaling: none` can do without."""

    control: Address = "127.0.0.1:0"
    """Where /livez, /readyz and /metrics are served."""

    rpc_timeout_s: Seconds = 2.0
    """Wall seconds in which a remote call must end."""

    settle_s: Seconds = 1.0
    """Wall seconds from announcing a drain until routers have stopped sending."""

    unsettled_s: Seconds = 10.0
    """Wall seconds in which a start of unknown outcome may still happen."""
