"""Ports for servers that are started later, or again."""

from weir.local.ports import Ports

__all__ = ["free_port"]

_PORTS = Ports()


def free_port() -> int:
    """One that no outgoing connection takes meanwhile, and that nobody was told before."""
    return _PORTS.take()
