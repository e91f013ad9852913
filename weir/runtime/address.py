"""HOST:PORT as flags and settings write it."""

from typing import NamedTuple

__all__ = ["HostPort", "split_address"]


class HostPort(NamedTuple):
    host: str
    port: int


def split_address(text: str) -> HostPort:
    """Host and port; an IPv6 host stands in brackets, which are taken off.

    Raises `ValueError` if `text` is not of that form.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"must be HOST:PORT, not {text!r}")
    return HostPort(host.removeprefix("[").removesuffix("]"), int(port))
