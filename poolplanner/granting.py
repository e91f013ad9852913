"""Who grants a process's pools what they may run, and what it wants to hear."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry

from poolplanner.ports import GrantSource
from weir.domain.ids import PoolId
from weir.domain.telemetry import TrafficSample

__all__ = ["Granting", "SourceOf", "unheard"]


class SourceOf(Protocol):
    def __call__(self, pool_id: PoolId, pushed: Callable[[], None]) -> GrantSource:
        """One pool's. `pushed` is called when there is a grant to be had."""
        ...


def _never() -> None:
    """The process plans its pools."""


def unheard(sample: TrafficSample) -> None:
    """Whoever grants hears of traffic by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Granting:
    """`heard` is told of the load offered to the process's pools, and of no request twice.
    `stands_by`: why another process plans them now, None if this one does.
    """

    source_of: SourceOf
    heard: Callable[[TrafficSample], None] = unheard
    stands_by: Callable[[], str | None] = _never
    registries: Sequence[CollectorRegistry] = ()
    """Metrics to show beside the pools'."""
