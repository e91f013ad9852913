"""What one pool may be running, as far as this term knows."""

from dataclasses import dataclass, field

from weir.domain.fleet import PoolSpec
from weir.domain.planning import Grant, PoolReport

__all__ = ["Account"]


@dataclass(slots=True, kw_only=True)
class Account:
    """One pool's line in the ledger.

    `open_grants` are those that the pool may still act on, newest last: from the one it last
    said to act on. Only those that can matter are kept, so their replicas fall strictly.
    `settled` is False while the pool may act on a grant that this ledger has not seen. `found` is
    the target that the pool was found with.
    """

    spec: PoolSpec
    target: int = 0
    reason: str = ""
    report: PoolReport | None = None
    reported_at_s: float = 0.0
    settled: bool = False
    found: int = 0
    open_grants: list[Grant] = field(default_factory=list)

    @property
    def newest(self) -> Grant | None:
        return self.open_grants[-1] if self.open_grants else None

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
        """Replicas to grant: the target, and while one is missing those that are leaving."""
        if self.report is None:
            return self.target
        state = self.report.state
        missing = state.ready + state.starting < self.target
        return self.target + state.terminating if missing else self.target

    @property
    def held(self) -> int:
        """Replicas last seen, in any state."""
        return self.report.state.held if self.report is not None else 0

    @property
    def charged(self) -> int:
        """Replicas that may be running, of what is known."""
        acted = self.report.acted_replicas if self.report is not None else 0
        most_granted = self.open_grants[0].replicas if self.open_grants else 0
        return max(self.held, acted, most_granted)

    @property
    def reserved(self) -> int:
        """Replicas that may be running, at most: what is not known counts as the maximum."""
        return self.charged if self.settled else max(self.charged, self.spec.max_replicas)

    def issue(self, grant: Grant) -> None:
        while self.open_grants and self.open_grants[-1].replicas <= grant.replicas:
            self.open_grants.pop()
        self.open_grants.append(grant)

    def acknowledge(self, epoch: int) -> None:
        """The pool refuses grants before `epoch` from now on."""
        self.open_grants = [
            grant for grant in self.open_grants if grant.epoch >= epoch
        ] or self.open_grants[-1:]
