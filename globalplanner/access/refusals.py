"""Pools whose newest report was refused, and why, until one is taken in again.

To be told only of pools that the fleet has, so that it stays as small. Logs little, whatever pools
send: a refusal of each a minute, and classes that are not here once.
"""

import logging
from dataclasses import dataclass

from weir.domain.ids import ClassName, PoolId

__all__ = ["Refusal", "Refusals"]

_log = logging.getLogger("weir.globalplanner")
_LOG_AGAIN_S = 60.0
_NAMES_LOGGED = 5
_LONGEST_WHY = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """`at_s` is wall time."""

    why: str
    at_s: float


class Refusals:
    def __init__(self) -> None:
        self._newest: dict[PoolId, Refusal] = {}
        self._logged_at_s: dict[PoolId, float] = {}
        self._strange: set[PoolId] = set()
        self._turned_away_at_s: dict[str, float] = {}

    def of(self, pool_id: PoolId) -> Refusal | None:
        """None if its newest report was taken in."""
        return self._newest.get(pool_id)

    def refused(self, pool_id: PoolId, why: str, wall_s: float) -> None:
        why = _shown(why)
        self._newest[pool_id] = Refusal(why=why, at_s=wall_s)
        if wall_s - self._logged_at_s.get(pool_id, -_LOG_AGAIN_S) >= _LOG_AGAIN_S:
            self._logged_at_s[pool_id] = wall_s
            _log.warning("report refused pool=%s, it stays as it is: %s", pool_id, why)

    def taken(self, pool_id: PoolId, strange: frozenset[ClassName]) -> None:
        """A report was taken in, but for what it said of classes that are `strange`."""
        self._newest.pop(pool_id, None)
        if strange and pool_id not in self._strange:
            some = ", ".join(map(repr, sorted(strange)[:_NAMES_LOGGED]))
            _log.warning(
                "pool=%s reports on classes that are not here, left out: %s", pool_id, some
            )
            self._strange.add(pool_id)

    def turned_away(self, who: str, why: str, wall_s: float) -> None:
        """`who`: the name of an identity, empty for nobody who is known. Logged once a minute."""
        if wall_s - self._turned_away_at_s.get(who, -_LOG_AGAIN_S) >= _LOG_AGAIN_S:
            self._turned_away_at_s[who] = wall_s
            _log.warning("report refused: %s", _shown(why))


def _shown(text: str) -> str:
    """For terminals and logs, which names that a pool has sent must not steer."""
    short = text if len(text) <= _LONGEST_WHY else f"{text[: _LONGEST_WHY - 3]}..."
    return "".join(each if each.isprintable() else "?" for each in short)
