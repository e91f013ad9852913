"""What a policy is: a gateway for the calls, and whatever changes the number of replicas."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from weir.domain.fleet import Stage
from weir.domain.ids import ClassName, PoolId
from weir.simulator.gateway.port import Gateway

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["PlanSample", "Planning", "Policy"]


class Policy(Protocol):
    """Made anew for each run: it may keep state."""

    def gateway(self, world: "World") -> Gateway:
        """Called first; the cluster is not there yet."""
        ...

    def start(self, world: "World") -> None:
        """The world is complete: place the first replicas, begin to plan."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSample:
    """What a policy expects and plans at one moment; what it does not is empty or None."""

    ahead_s: float = 0.0
    """The forecast is of so much later."""
    forecast_rps: Mapping[ClassName, tuple[float, float, float]] = field(default_factory=dict)
    """By class: low, middle and high requests per second."""
    shares: Mapping[ClassName, Mapping[Stage, Mapping[PoolId, float]]] = field(default_factory=dict)
    """By class, stage and pool: the part of the class's requests that the pool is to get."""
    charged_gpus: int | None = None


@runtime_checkable
class Planning(Protocol):
    """A policy that has a plan to show."""

    def sample(self) -> PlanSample: ...
