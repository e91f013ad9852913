"""What the GlobalPlanner process is told, besides the Fleet document."""

from typing import Annotated

from pydantic import Field

from weir.fleet.settings import Seconds, StrictModel

__all__ = ["Address", "GlobalPlannerConfig"]

Address = Annotated[str, Field(pattern=r"^[^\s:]+:\d{1,5}$")]
"""host:port"""


class GlobalPlannerConfig(StrictModel):
    listen: Address
    """Where reports are taken over gRPC."""

    nats: str
    """URL of the NATS server."""

    control: Address = "127.0.0.1:0"
    """Where /livez, /readyz and /metrics are served."""

    term_retry_s: Seconds = 0.5
    """Wall seconds until the next try to become the leader of a new term."""
