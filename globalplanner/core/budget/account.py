"""What one pool may be running, as far as this leader knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from weir.domain.fleet import PoolSpec
from weir.domain.ids import PoolId
from weir.domain.planning import Grant, PoolReport
from weir.domain.record import OpenGrant, PoolLine

__all__ = ["Account"]

_NONE_YET = -1
"""Below every sequence number."""


@dataclass(slots=True, kw_only=True)
class Account:
    """One pool's line in the ledger.

    `open_grants` are those that the pool may still act on, newest last: from the one it last
    said to act on. Only those that can matter are kept, so their replicas fall strictly.
    `sendable` is the newest that may be sent: it is in the record, or lets the pool have no more
    than every grant before it that the pool may be acting on. `unknown` is not 0 while the pool may
    act on a grant that neither this ledger nor the record it began with has seen: it may be
    running so many replicas. `inherited` is what the record charges until the pool reports.
    `found`: the target that the pool was found with. `said`, `explained`: why the target is what it
    is. `misfit`: why the document's description of it does not count yet.
    """

    spec: PoolSpec
    target: int = 0
    said: str = ""
    explained: Mapping[PoolId, str] | None = None
    report: PoolReport | None = None
    reported_at_s: float = 0.0
    sequence: int = _NONE_YET
    unknown: int = 0
    inherited: int = 0
    found: int = 0
    open_grants: list[Grant] = field(default_factory=list)
    sendable: Grant | None = None
    reach: int = 0
    leaving: bool = False
    misfit: str = ""

    @property
    def known(self) -> bool:
        return self.unknown == 0

    @property
    def newest(self) -> Grant | None:
        return self.open_grants[-1] if self.open_grants else None

    @property
    def reason(self) -> str:
        """Why the target is what it is."""
        return self.explained.get(self.spec.id, self.said) if self.explained else self.said

    def aim(self, target: int, reasons: Mapping[PoolId, str]) -> None:
        """`reasons` are looked at only if somebody asks: to word them costs time."""
        self.target, self.explained = target, reasons

    def aim_because(self, target: int, reason: str) -> None:
        self.target, self.said, self.explained = target, reason, None

    @property
    def undecided(self) -> bool:
        """Whether the target is what the pool was found with."""
        return self.target == self.found

    @property
    def granted(self) -> int:
        """Replicas of the newest grant, 0 if there is none."""
        return self.open_grants[-1].replicas if self.open_grants else 0

    @property
    def wanted(self) -> int:
        """Replicas to grant: the target, and while one is missing those that are leaving.

        A pool that has withdrawn is to have no more than it has said.
        """
        report = self.report
        if report is None:
            return self.target
        if report.withdrawn:
            return min(self.target, report.acted_replicas)
        state = report.state
        missing = state.ready + state.starting < self.target
        return self.target + state.terminating if missing else self.target

    @property
    def held(self) -> int:
        """Replicas last seen, in any state."""
        return self.report.state.held if self.report is not None else 0

    @property
    def seen(self) -> int:
        """Replicas that may be running whatever was granted since."""
        if self.report is None:
            return self.inherited
        return max(self.report.state.held, self.report.acted_replicas)

    @property
    def charged(self) -> int:
        """Replicas that may be running, of what is known."""
        return max(self.seen, self.open_grants[0].replicas if self.open_grants else 0)

    @property
    def reserved(self) -> int:
        """Replicas that may be running, at most: what is not known counts as the maximum."""
        return max(self.charged, self.unknown)

    def issue(self, grant: Grant) -> None:
        while self.open_grants and self.open_grants[-1].replicas <= grant.replicas:
            self.open_grants.pop()
        self.open_grants.append(grant)
        if grant.replicas <= self.reach:
            self._may_send(grant)

    def written(self, term: int, epoch: int) -> None:
        """The record now holds every grant up to this one. What follows lets the pool have less."""
        sent = self.sendable.number if self.sendable is not None else (0, 0)
        if any(sent < g.number <= (term, epoch) and g.term == term for g in self.open_grants):
            self._may_send(self.open_grants[-1])

    def acknowledge(self, term: int, epoch: int) -> None:
        """The pool refuses grants before this one from now on."""
        if (term, epoch) > (0, 0):
            self.open_grants = [g for g in self.open_grants if g.number >= (term, epoch)]

    def line(self) -> PoolLine:
        return PoolLine(
            pool_id=self.spec.id,
            gpus_per_replica=self.spec.gpus_per_replica,
            gpu_class=self.spec.gpu_class,
            node_group=self.spec.node_group,
            power_w_per_gpu=self.spec.power_w_per_gpu,
            charged_replicas=self.seen,
            unknown_replicas=self.unknown,
            sequence=max(0, self.sequence),
            open=tuple(
                OpenGrant(term=g.term, epoch=g.epoch, replicas=g.replicas) for g in self.open_grants
            ),
        )

    def inherit(self, line: PoolLine) -> None:
        """Begin with what an earlier leader has left."""
        self.unknown = line.unknown_replicas
        self.inherited = line.charged_replicas
        self.sequence = line.sequence or _NONE_YET
        self.open_grants = [
            Grant(
                pool_id=line.pool_id,
                term=grant.term,
                epoch=grant.epoch,
                replicas=grant.replicas,
                valid_s=0.0,
                reason="of an earlier leader",
            )
            for grant in line.open
        ]

    def _may_send(self, grant: Grant) -> None:
        self.sendable, self.reach = grant, grant.replicas
