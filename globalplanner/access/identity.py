"""Who calls, and for what: identities bound to pools.

An identity is found by what a caller has proven, a token or the subject of a certificate, never by
what it says of itself. Tokens are known by their SHA-256 only.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from weir.domain.ids import PoolId

__all__ = ["ANYBODY", "Entry", "Identities", "Identity", "OpenDoor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """`pools`: those it may report for, None for all. Whoever is known may read."""

    name: str
    pools: frozenset[PoolId] | None = frozenset()
    operator: bool = False

    def may_report(self, pool_id: str) -> bool:
        return self.pools is None or pool_id in self.pools


ANYBODY = Identity(name="anybody", pools=None, operator=True)
"""Everybody, where no identities are given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """How an identity is proven: by one of these."""

    identity: Identity
    token_sha256: bytes | None = field(default=None, repr=False)
    subject: str | None = None


class Identities:
    """All that are known. Who shows a token is known by that alone, and else by its subjects."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = tuple(entries)

    @property
    def by_subject(self) -> bool:
        """Whether anybody is known by a certificate."""
        return any(entry.subject is not None for entry in self._entries)

    def of(self, token: str | None, subjects: Sequence[str]) -> Identity | None:
        """Whose `token` it is; without one, whose certificate. None: nobody's."""
        if token is not None:
            return self._of_token(token)
        named = (entry for entry in self._entries if entry.subject in subjects)
        return next((entry.identity for entry in named if entry.subject is not None), None)

    def _of_token(self, token: str) -> Identity | None:
        """Takes as long whoever's it is."""
        digest = hashlib.sha256(token.encode(errors="surrogateescape")).digest()
        found: Identity | None = None
        for entry in self._entries:
            if entry.token_sha256 is not None and hmac.compare_digest(entry.token_sha256, digest):
                found = entry.identity
        return found


class OpenDoor:
    """Without identities: everybody may do everything."""

    def of(self, token: str | None, subjects: Sequence[str]) -> Identity | None:
        return ANYBODY
