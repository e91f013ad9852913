"""TLS of a listener that is not gRPC's, from files that others may renew."""

import asyncio
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

from weir.domain.errors import CredentialsError
from weir.runtime.watched import Signature, signature

__all__ = ["ListenerTls", "RenewedContext", "check_pair"]

_log = logging.getLogger("weir.tls")
_LOOK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerTls:
    """PEM files. What is in them counts for the connections of the next second."""

    cert: Path
    key: Path

    def context(self) -> "RenewedContext":
        """Raises `CredentialsError` if certificate and key cannot be used."""
        return RenewedContext(self)


class RenewedContext:
    """`ssl` for a server; `watch` keeps it at what the files hold."""

    def __init__(self, files: ListenerTls) -> None:
        self._files = files
        self._seen = self._signatures()
        self.ssl = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ssl.set_alpn_protocols(["http/1.1"])
        _load(self.ssl, files)

    async def watch(self) -> None:
        """Look every second, for ever. Files that do not fit together change nothing."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self.renew()

    def renew(self) -> bool:
        """Take what is in the files if it is new and can be used."""
        now = self._signatures()
        if now == self._seen:
            return False
        try:
            check_pair(self._files.cert, self._files.key)
            _load(self.ssl, self._files)
        except CredentialsError as error:
            _log.warning("the certificate in use stays: %s", error)
            return False
        finally:
            self._seen = now
        _log.info("certificate renewed cert=%s", self._files.cert)
        return True

    def _signatures(self) -> tuple[Signature | None, ...]:
        return signature(self._files.cert), signature(self._files.key)


def check_pair(cert: Path, key: Path) -> None:
    """Raises `CredentialsError` unless `key` belongs to `cert`."""
    _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ListenerTls(cert=cert, key=key))


def _load(context: ssl.SSLContext, files: ListenerTls) -> None:
    cert, key = files.cert, files.key
    try:
        # An encrypted key would ask at the terminal.
        context.load_cert_chain(cert, key, password="")
    except (OSError, ValueError) as error:
        raise CredentialsError(f"cannot use certificate {cert} with key {key}: {error}") from None
