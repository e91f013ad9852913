"""What the GlobalPlanner needs of the world. All calls end within a deadline of their own."""

from typing import Protocol

from weir.domain.planning import RoutingPlan

__all__ = ["PlanStore", "TermStore"]


class TermStore(Protocol):
    """The counter of leaders, kept outside of this process."""

    @property
    def connected(self) -> bool:
        """Whether the store answers now; nothing grows while it does not."""
        ...

    async def next_term(self, above: int) -> int:
        """Take a term that nobody has had and that is greater than `above`.

        Raises `UnavailableError` if the store does not answer or somebody else was faster.
        """
        ...


class PlanStore(Protocol):
    """Where routers look up the routing plan. Raises `UnavailableError`."""

    async def put(self, plan: RoutingPlan) -> None: ...
