"""Keys, certificates and tokens of one process, from files that others may renew.

Nothing of them is ever logged or part of an error; errors name the file.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from weir.domain.errors import CredentialsError
from weir.runtime.tls import check_pair
from weir.runtime.watched import Signature, signature

__all__ = ["ClientCredentials", "ServerTls"]

_LONGEST_TOKEN = 4096
_Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """PEM files. With `client_ca` only clients that it has certified get through.

    What is in the files counts for the next connection, so they may be renewed at any time.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """Raises `CredentialsError` if certificate and key cannot be used."""
        first = self._configuration()
        needs_client = self.client_ca is not None
        return grpc.dynamic_ssl_server_credentials(  # type: ignore[no-any-return, no-untyped-call]
            first, self._renewals(), needs_client
        )

    def _configuration(self) -> Any:
        check_pair(self.cert, self.key)
        root = _check_ca(self.client_ca) if self.client_ca is not None else None
        pair = (_read(self.key), _read(self.cert))
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=root)  # type: ignore[no-untyped-call]

    def _renewals(self) -> Callable[[], Any]:
        """Called at every handshake: the new configuration, None if nothing can or must change."""
        seen = self._signatures()

        def renewed() -> Any:
            nonlocal seen
            now = self._signatures()
            if now == seen:
                return None
            seen = now
            try:
                return self._configuration()
            except CredentialsError:
                return None

        return renewed

    def _signatures(self) -> tuple[Signature | None, ...]:
        return tuple(signature(path) for path in (self.cert, self.key, self.client_ca) if path)


class ClientCredentials:
    """How a client shows who it is: nothing, a bearer token, a certificate, or both.

    `ca`: the server must have a certificate of it, and the connection is encrypted. Raises
    `CredentialsError` if a file cannot be used.
    """

    def __init__(
        self,
        *,
        token_file: Path | None = None,
        ca: Path | None = None,
        cert: Path | None = None,
        key: Path | None = None,
    ) -> None:
        if (cert is None) != (key is None):
            raise CredentialsError("a client certificate needs its key: give both or none")
        if cert is not None and ca is None:
            raise CredentialsError("a client certificate needs the CA of the server beside it")
        self._ca, self._cert, self._key = ca, cert, key
        self._token_file = token_file
        self._token_seen: Signature | None = None
        self._metadata: _Metadata = ()
        self.channel_credentials()
        if token_file is not None:
            self._token_seen = signature(token_file)
            self._metadata = _bearer(token_file)

    def channel_credentials(self) -> grpc.ChannelCredentials | None:
        """Of a new channel; None: without TLS."""
        if self._ca is None:
            return None
        root, key, cert = _check_ca(self._ca), None, None
        if self._cert is not None and self._key is not None:
            check_pair(self._cert, self._key)
            key, cert = _read(self._key), _read(self._cert)
        return grpc.ssl_channel_credentials(root, key, cert)  # type: ignore[no-any-return, no-untyped-call]

    def metadata(self) -> _Metadata:
        """What to send along with a call now; a token that was renewed counts at once."""
        if self._token_file is None:
            return ()
        now = signature(self._token_file)
        if now is not None and now != self._token_seen:
            self._token_seen = now
            try:
                self._metadata = _bearer(self._token_file)
            except CredentialsError:
                return self._metadata
        return self._metadata


def _check_ca(ca: Path) -> bytes:
    """The certificates in `ca`. Raises `CredentialsError` if there are none."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca)
    except OSError as error:
        raise CredentialsError(f"cannot use CA certificates {ca}: {error}") from None
    return _read(ca)


def _bearer(path: Path) -> _Metadata:
    try:
        token = _read(path).decode("ascii").strip()
    except UnicodeDecodeError:
        token = ""
    if not token or len(token) > _LONGEST_TOKEN or not token.isprintable() or " " in token:
        raise CredentialsError(f"{path} must hold one token of printable ASCII without blanks")
    return (("authorization", f"Bearer {token}"),)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialsError(f"cannot read {path}: {error.strerror}") from None
