"""Certificates for tests, made with the openssl command."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Pair", "Pki"]


@dataclass(frozen=True)
class Pair:
    cert: Path
    key: Path


class Pki:
    """A certificate authority in `folder`."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._name = name
        self.ca = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", self._key, "-out", self.ca, "-days", "2", "-subj", f"/CN={name}"),
        )

    def pair(self, name: str, *, san: str = "", cn: str | None = None) -> Pair:
        """A certificate of this authority; `san` as openssl writes it ("DNS:a,IP:127.0.0.1")."""
        cert, key = (self._folder / f"{self._name}-{name}.{end}" for end in ("pem", "key"))
        extension = ("-addext", f"subjectAltName={san}") if san else ()
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", key, "-out", cert, "-days", "2", "-subj", f"/CN={cn or name}"),
            *("-CA", self.ca, "-CAkey", self._key, *extension),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
        )
        return Pair(cert, key)


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=20)
