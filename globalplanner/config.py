"""What one GlobalPlanner process is told, besides the Fleet document."""

from weir.fleet.settings import Address, Seconds, StrictModel

__all__ = ["GlobalPlannerConfig"]


class GlobalPlannerConfig(StrictModel):
    listen: Address = "127.0.0.1:7000"
    """Where pool planners report, over gRPC."""

    tls_cert: str | None = None
    """PEM file with the listener's certificate; TLS if given, together with `tls_key`."""

    tls_key: str | None = None
    """PEM file with its private key."""

    client_ca: str | None = None
    """PEM file with the authority that has certified all clients; who has no certificate of it
    does not get through."""

    identities: str | None = None
    """YAML file that says who may call, and for which pools; everybody for all if there is none."""

    insecure: bool = False
    """Listen beyond loopback although that is open to everybody, or tokens can be read."""

    nats: str
    """URLs of NATS nodes, separated by commas."""

    control: Address = "127.0.0.1:0"
    """Where /livez, /readyz and /metrics are served."""

    decisions: str | None = None
    """File (or folder for it) that decisions are written to, besides the stream in NATS."""

    advisory: bool = False
    """Decide and explain, and change nothing that pools have, whatever the document says."""

    lease_s: Seconds = 4.0
    """Wall seconds without a sign of the leader after which another GlobalPlanner takes over."""

    refresh_s: Seconds = 5.0
    """Wall seconds after which an unchanged routing plan is written again."""
