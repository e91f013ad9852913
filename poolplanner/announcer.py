"""Keeps the members that routers look up as they are."""

from collections.abc import Collection, Sequence

from poolplanner.core.members import Announcement, endpoints
from poolplanner.core.replicas import Replica
from poolplanner.ports import MembersStore
from poolplanner.troubles import Troubles
from weir.domain.errors import WeirError
from weir.domain.ids import PoolId, WorkerId
from weir.runtime.clock import Clock

__all__ = ["Announcer"]


class Announcer:
    """One pool's members. Versions begin above `version` and above what is stored."""

    def __init__(
        self,
        pool_id: PoolId,
        store: MembersStore,
        troubles: Troubles,
        clock: Clock,
        *,
        version: int,
        refresh_s: float,
    ) -> None:
        self._pool = pool_id
        self._store = store
        self._troubles = troubles
        self._clock = clock
        self._version = version
        self._refresh_s = refresh_s
        self._announcement: Announcement | None = None
        self.succeeds: bool | None = None
        """Whether members were stored before; None while that is not known."""

    def begin_anew(self) -> None:
        """Another process may announce them until the next time."""
        self._announcement, self.succeeds = None, None

    async def announce(self, replicas: Sequence[Replica], draining: Collection[WorkerId]) -> bool:
        """Publish if something has changed or is due again; False if routers cannot be told."""
        try:
            announcement = await self._begun()
            members = announcement.due(endpoints(replicas, draining), self._clock.wall_s())
            if members is not None:
                await self._store.put(members)
                announcement.published(self._clock.wall_s())
        except WeirError as error:
            self._troubles.failed("members", error)
            return False
        self._troubles.recovered("members")
        return True

    async def _begun(self) -> Announcement:
        if self._announcement is None:
            stored = await self._store.newest_version()
            self.succeeds = stored > 0
            self._announcement = Announcement(
                self._pool,
                first_version=max(self._version, stored + 1),
                refresh_s=self._refresh_s,
            )
        return self._announcement
