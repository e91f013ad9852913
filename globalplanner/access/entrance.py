"""Who is let in: TLS of the listener and identities, and what is too open to start with."""

import ipaddress
import logging
from dataclasses import dataclass
from pathlib import Path

from globalplanner.access.identity import OpenDoor
from globalplanner.access.identity_file import IdentityFile
from globalplanner.config import GlobalPlannerConfig
from weir.domain.errors import CredentialsError
from weir.runtime.address import split_address
from weir.runtime.credentials import ServerTls
from weir.runtime.lifecycle import Stop

__all__ = ["Entrance", "entrance_of", "is_loopback"]

_log = logging.getLogger("weir.globalplanner")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    door: IdentityFile | OpenDoor
    tls: ServerTls | None

    async def run(self, stop: Stop) -> None:
        """Keep the identities as their file has them until `stop`."""
        if isinstance(self.door, IdentityFile):
            await self.door.run(stop)


def entrance_of(config: GlobalPlannerConfig) -> Entrance:
    """Raises `CredentialsError` if a file cannot be used, or it would let in who should not."""
    tls = _tls(config)
    door = IdentityFile(Path(config.identities)) if config.identities else OpenDoor()
    if isinstance(door, IdentityFile) and door.identities.by_subject and not config.client_ca:
        raise CredentialsError(
            f"{config.identities}: identities known by their subject need certificates:"
            " give --client-ca FILE"
        )
    if open_to := _too_open(config, door, tls):
        if not config.insecure:
            raise CredentialsError(f"cannot listen on {config.listen} like this: {open_to}")
        _log.warning("INSECURE: listening on %s although %s", config.listen, open_to)
    return Entrance(door=door, tls=tls)


def _tls(config: GlobalPlannerConfig) -> ServerTls | None:
    if not config.tls_cert and not config.tls_key:
        if config.client_ca:
            raise CredentialsError("--client-ca needs --tls-cert and --tls-key beside it")
        return None
    if not config.tls_cert or not config.tls_key:
        raise CredentialsError("TLS needs both --tls-cert and --tls-key")
    client_ca = Path(config.client_ca) if config.client_ca else None
    return ServerTls(cert=Path(config.tls_cert), key=Path(config.tls_key), client_ca=client_ca)


def _too_open(
    config: GlobalPlannerConfig, door: IdentityFile | OpenDoor, tls: ServerTls | None
) -> str:
    """What is dangerous beyond this machine, and how to mend it; empty if nothing is."""
    if is_loopback(split_address(config.listen).host):
        return ""
    if isinstance(door, OpenDoor):
        return (
            "without identities everybody who reaches it may move GPUs;"
            " give --identities FILE, or listen on 127.0.0.1"
        )
    if tls is None:
        return (
            "without TLS tokens can be read on the way;"
            " give --tls-cert and --tls-key, or listen on 127.0.0.1"
        )
    return ""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
