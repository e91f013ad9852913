"""What the GlobalPlanner needs of the world. All calls end within a deadline of their own."""

from typing import Protocol

from weir.domain.planning import RoutingPlan

__all__ = ["PlanStore", "TermStore"]


class TermStore(Protocol):
    """Numbers leaders. Raises `UnavailableError`."""

    @property
    def connected(self) -> bool:
        """Whether the store can be asked now."""
        ...

    async def newest(self) -> int:
        """The newest term there is, 0 if none is stored.

        What this process has written without hearing so is not somebody else's term: then it
        is the one that `take` returned last.
        """
        ...

    async def take(self, *, above: int = 0) -> int:
        """Become the newest leader: a term higher than any before and than `above`."""
        ...


class PlanStore(Protocol):
    """Where routers look up the plan. Raises `UnavailableError`."""

    async def put(self, plan: RoutingPlan) -> None: ...
