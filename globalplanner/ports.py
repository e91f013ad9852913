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

    async def confirm(self, term: int) -> int:
        """The newest term there is; if the store has lost `term`, it is written again."""
        ...

    async def take(self, *, above: int = 0) -> int:
        """Become the newest leader: a term higher than any before and than `above`."""
        ...


class PlanStore(Protocol):
    """Where routers look up the plan. Raises `UnavailableError`."""

    async def put(self, plan: RoutingPlan) -> None: ...
