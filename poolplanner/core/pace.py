"""How a pool moves to its grant: start, drain, stop; never beyond what it was granted.

Invariants:
* A start is ordered only under the newest grant, before it expires, and while everything that
  may hold GPUs (ready, starting, terminating, starts of unknown outcome) is fewer than granted.
* A grant of a lower (term, epoch) than the newest one changes nothing.
* A ready replica is stopped only after it has been announced as draining for `settle_s`, so
  that routers have stopped sending to it. Until then a larger grant takes the drain back.
* Without a grant nothing is started or stopped. Without a valid one nothing new is decided;
  drains that were already ordered go on.

Times are wall seconds of one monotonic clock. After a restart the state is empty: replicas are
listed by the actuator, and the first grant says what to do with them.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from poolplanner.core.replicas import Replica, ReplicaState
from poolplanner.core.withdrawal import Withdrawal
from weir.domain.ids import WorkerId
from weir.domain.planning import Grant

__all__ = ["Pace", "Steps"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """What to do now. `drain` and `keep` are to be announced, `stop` to be ordered."""

    start: int = 0
    drain: tuple[WorkerId, ...] = ()
    keep: tuple[WorkerId, ...] = ()
    stop: tuple[WorkerId, ...] = ()


@dataclass(frozen=True, slots=True)
class _Start:
    """A start that counts as held until it is listed, or cannot happen any more."""

    worker_id: WorkerId | None
    until_s: float


class Pace:
    """State machine of one pool. `step` after each listing; report back what came of it."""

    def __init__(
        self, *, max_replicas: int, settle_s: float = 1.0, unsettled_s: float = 10.0
    ) -> None:
        self._max_replicas = max_replicas
        self._settle_s = settle_s
        self._unsettled_s = unsettled_s
        self._grant: Grant | None = None
        self._expires_at_s = -math.inf
        self._draining: dict[WorkerId, float] = {}
        """Marked, not yet told to stop: when the mark was announced (inf: not yet)."""
        self._stopping: set[WorkerId] = set()
        self._withdrawal = Withdrawal()
        self._known: set[WorkerId] | None = None
        self._unlisted: list[_Start] = []

    @property
    def grant(self) -> Grant | None:
        """The newest grant: the one the pool may act on."""
        return self._grant

    @property
    def withdrawn(self) -> bool:
        """Whether it has given back what it cannot start."""
        return self._withdrawal.at is not None

    def most(self, now_s: float) -> int:
        """Replicas that the pool may run now, 0 without a grant."""
        granted = self._grant.replicas if self._grant is not None else 0
        return min(self._max_replicas, self._withdrawal.most(granted, now_s))

    @property
    def draining(self) -> frozenset[WorkerId]:
        """Replicas that get no new requests."""
        return frozenset(self._draining) | self._stopping

    def valid(self, now_s: float) -> bool:
        return now_s < self._expires_at_s

    def offer(self, grant: Grant, *, sent_at_s: float) -> str | None:
        """Take over a grant that answers the report sent at `sent_at_s`.

        Returns None if it is now the newest (or renews it), else why it is refused.
        """
        newest, pair = self._grant, (grant.term, grant.epoch)
        expires_at_s = sent_at_s + grant.valid_s
        if newest is not None and pair < (newest.term, newest.epoch):
            return f"older than term {newest.term} epoch {newest.epoch}"
        if newest is not None and pair == (newest.term, newest.epoch):
            if grant.replicas != newest.replicas:
                return f"contradicts itself: {grant.replicas} replicas, first {newest.replicas}"
            expires_at_s = max(expires_at_s, self._expires_at_s)
        self._grant, self._expires_at_s = grant, expires_at_s
        return None

    def see(self, replicas: Sequence[Replica], now_s: float) -> None:
        """Take in a new listing: forget who is gone, settle starts that have shown up."""
        ids = {replica.id for replica in replicas}
        appeared = ids - self._known if self._known is not None else set()
        for worker_id in appeared:
            self._settle(worker_id)
        self._unlisted = [start for start in self._unlisted if start.until_s > now_s]
        self._known = ids
        self._stopping &= ids
        ended = {r.id for r in replicas if r.state is ReplicaState.TERMINATING}
        self._draining = {
            id: at_s for id, at_s in self._draining.items() if id in ids and id not in ended
        }

    def unsettled(self, now_s: float) -> int:
        """Starts that are not listed but may have happened, or may still happen."""
        return sum(start.until_s > now_s for start in self._unlisted)

    def step(self, replicas: Sequence[Replica], now_s: float) -> Steps:
        """Decide on the listing last given to `see`."""
        if self._grant is None:
            return Steps()
        target = self.most(now_s)
        live = [r for r in replicas if r.state is not ReplicaState.TERMINATING]
        kept = [r for r in live if r.id not in self.draining]
        drain: tuple[WorkerId, ...] = ()
        keep: tuple[WorkerId, ...] = ()
        start = 0
        if len(kept) > target:
            if self.valid(now_s):
                drain = self._mark(kept, len(kept) - target)
        elif len(kept) < target:
            keep = self._unmark(target - len(kept))
            if not self._draining and self.valid(now_s):
                start = max(0, target - len(replicas) - self.unsettled(now_s))
        return Steps(start=start, drain=drain, keep=keep, stop=self._due(live, now_s))

    def announced(self, now_s: float) -> None:
        """The members as they are now, drains included, have been published."""
        for worker_id, at_s in self._draining.items():
            self._draining[worker_id] = min(at_s, now_s)

    def started(self, worker_id: WorkerId | None, now_s: float) -> None:
        """A start was ordered: which replica came of it, None if the outcome is unknown."""
        if worker_id is not None:
            self._withdrawal.started()
        if worker_id is None or worker_id not in (self._known or ()):
            self._unlisted.append(_Start(worker_id, now_s + self._unsettled_s))

    def refused(self, held: int, now_s: float) -> bool:
        """A start was refused, for good reasons; whether the pool gives the rest back now."""
        return self._withdrawal.refused(held + self.unsettled(now_s), now_s)

    def _settle(self, worker_id: WorkerId) -> None:
        """A new replica is listed: of the starts not listed yet, its own or else an unknown one."""
        for candidate in (worker_id, None):
            for start in self._unlisted:
                if start.worker_id == candidate:
                    self._unlisted.remove(start)
                    return

    def _mark(self, kept: Iterable[Replica], count: int) -> tuple[WorkerId, ...]:
        newest_first = list(kept)[::-1]
        victims = sorted(newest_first, key=_reluctance)[:count]
        self._draining.update((victim.id, math.inf) for victim in victims)
        return tuple(victim.id for victim in victims)

    def _unmark(self, count: int) -> tuple[WorkerId, ...]:
        kept = tuple(self._draining)[::-1][:count]
        for worker_id in kept:
            del self._draining[worker_id]
        return kept

    def _due(self, live: Iterable[Replica], now_s: float) -> tuple[WorkerId, ...]:
        """Replicas to stop now; one that was told before and does not is told again."""
        for replica in live:
            announced_at_s = self._draining.get(replica.id)
            if announced_at_s is None:
                continue
            unused = replica.state is ReplicaState.STARTING
            if unused or announced_at_s + self._settle_s <= now_s:
                del self._draining[replica.id]
                self._stopping.add(replica.id)
        return tuple(replica.id for replica in live if replica.id in self._stopping)


def _reluctance(replica: Replica) -> tuple[bool, float]:
    """Victims first: those still starting, then the least loaded; unknown load is full load."""
    load = math.inf if replica.in_flight is None else replica.in_flight
    return (replica.state is ReplicaState.READY, load)
