"""What a GlobalPlanner leaves to the one after it."""

from dataclasses import dataclass, field

from weir.domain.ids import PoolId
from weir.domain.overrides import Overrides

__all__ = ["LedgerRecord", "OpenGrant", "PoolLine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenGrant:
    """A grant that a pool may still act on. (term, epoch) orders grants."""

    term: int
    epoch: int
    replicas: int

    @property
    def number(self) -> tuple[int, int]:
        return self.term, self.epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLine:
    """What one pool may be running: `charged_replicas`, or what any grant of `open` allows.

    `gpus_per_replica` are kept so that a pool which the document no longer has still counts.
    """

    pool_id: PoolId
    gpus_per_replica: int
    charged_replicas: int
    open: tuple[OpenGrant, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRecord:
    """`owner` is the process that leads in `term`; `serial` counts what it has written."""

    term: int
    owner: str
    serial: int
    pools: tuple[PoolLine, ...] = ()
    overrides: Overrides = field(default_factory=Overrides)
