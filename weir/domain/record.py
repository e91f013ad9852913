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

    `unknown_replicas` is not 0 if it has not acted on a grant that the record knows of: then it
    may be running so many. What its GPUs are is kept so that a pool which the document no longer
    has still counts. `sequence` is that of the newest report taken in.
    """

    pool_id: PoolId
    gpus_per_replica: int
    gpu_class: str
    node_group: str
    charged_replicas: int
    unknown_replicas: int = 0
    sequence: int = 0
    power_w_per_gpu: int | None = None
    open: tuple[OpenGrant, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRecord:
    """`owner` is the process that leads in `term`; `serial` counts what it has written.

    The owner is empty if that process has ended in good order.
    """

    term: int
    owner: str
    serial: int
    pools: tuple[PoolLine, ...] = ()
    overrides: Overrides = field(default_factory=Overrides)
