"""What one pool planner process is told, besides the Fleet document."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from weir.fleet.settings import Address, Seconds, StrictModel

__all__ = ["PoolPlannerConfig"]


class PoolPlannerConfig(StrictModel):
    pools: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of the pools in the Fleet document."""

    nats: str | None = None
    """URL of the NATS server, or several of its cluster, separated by commas.

    Without it members are not published, and telemetry comes from elsewhere.
    """

    global_planner: tuple[Address, ...] = ()
    """Where GlobalPlanners take reports; the one that leads is found. None for who runs alone."""

    token_file: Path | None = None
    """Holds the bearer token that says which pool reports."""

    ca: Path | None = None
    """PEM file: whoever takes reports is certified by this authority. Without it no TLS."""

    cert: Path | None = None
    """PEM file with the client certificate that says which pool reports."""

    key: Path | None = None
    """PEM file with its private key."""

    actuator: Address | None = None
    """Where the LocalActuator listens; pools with `scaling: none` can do without."""

    advisory: bool = False
    """Report, and start and stop nothing, whatever is granted."""

    control: Address = "127.0.0.1:0"
    """Where /livez, /readyz and /metrics are served."""

    rpc_timeout_s: Seconds = 2.0
    """Wall seconds in which a remote call must end."""

    settle_s: Seconds = 1.0
    """Wall seconds from announcing a drain until routers have stopped sending."""

    unsettled_s: Seconds = 10.0
    """Wall seconds in which a start of unknown outcome may still happen."""
