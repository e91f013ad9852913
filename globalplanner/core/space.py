"""The allocations that are possible, and what each is worth."""

from collections.abc import Iterable, Mapping, Sequence

from globalplanner.core.limits import Limit
from globalplanner.core.snapshot import PoolView
from weir.domain.ids import PoolId
from weir.sizing.value import Goodput, Served

__all__ = ["Allocation", "Room", "Space"]

Allocation = dict[PoolId, int]

_NEGLIGIBLE = 1e-6


class Room:
    """GPUs that an allocation leaves free, by limit."""

    def __init__(self, space: "Space", replicas: Mapping[PoolId, int]) -> None:
        gpus = {id: space.gpus(id, count) for id, count in replicas.items()}
        self._space = space
        self._replicas = replicas
        self._gpus = gpus
        self._free = [(limit.pools, limit.gpus - limit.used(gpus)) for limit in space.limits]

    def fits(self, more: Iterable[tuple[PoolId, int]]) -> bool:
        """Whether these replicas can be added, by pool."""
        extra = {
            id: self._space.gpus(id, self._replicas[id] + count) - self._gpus[id]
            for id, count in more
        }
        return all(
            sum(gpus for id, gpus in extra.items() if id in pools) <= free
            for pools, free in self._free
            if not pools.isdisjoint(extra)
        )


class Space:
    """Values are kept, so that asking again costs nothing. One decision uses one space."""

    def __init__(
        self, goodput: Goodput, views: Sequence[PoolView], limits: Sequence[Limit]
    ) -> None:
        self.views = {view.spec.id: view for view in sorted(views, key=lambda view: view.spec.id)}
        self.limits = tuple(limits)
        self.goodput = goodput
        self.movable = tuple(id for id, view in self.views.items() if not view.held)
        self.maxima = {id: view.spec.max_replicas for id, view in self.views.items()}
        self.negligible = _NEGLIGIBLE * max(goodput.full_value, _NEGLIGIBLE)
        """Values that differ by less are the same."""
        self._known: dict[tuple[tuple[int, ...], float], Served] = {}
        self._last: Served | None = None
        self._ratios: dict[tuple[PoolId, PoolId], float | None] = {}

    def served(self, replicas: Mapping[PoolId, int], *, carry: float = 1.0) -> Served:
        key = (tuple(replicas[id] for id in self.views), carry)
        if key not in self._known:
            self._last = self.goodput.of(replicas, carry=carry, near=self._last)
            self._known[key] = self._last
        return self._known[key]

    def value(self, replicas: Mapping[PoolId, int], *, carry: float = 1.0) -> float:
        return self.served(replicas, carry=carry).value

    def satisfied(self, replicas: Mapping[PoolId, int]) -> bool:
        """Whether no demand is left unserved that some pool could serve."""
        return self.value(replicas) >= self.goodput.full_value - self.negligible

    def gpus(self, pool_id: PoolId, replicas: int) -> int:
        """GPUs that the pool takes from the others: its floor is set aside even while idle."""
        spec = self.views[pool_id].spec
        return max(replicas, spec.floor_replicas) * spec.gpus_per_replica

    def fits(self, replicas: Mapping[PoolId, int]) -> bool:
        gpus = {id: self.gpus(id, count) for id, count in replicas.items()}
        return all(limit.holds(gpus) for limit in self.limits)

    def room(self, replicas: Mapping[PoolId, int]) -> Room:
        return Room(self, replicas)

    def ratio(self, prefill: PoolId, decode: PoolId) -> float | None:
        """Decode replicas that one prefill replica feeds, of the largest stream they share."""
        if (prefill, decode) not in self._ratios:
            self._ratios[prefill, decode] = self._ratio(prefill, decode)
        return self._ratios[prefill, decode]

    def least(self, pool_id: PoolId) -> int:
        """Replicas that a pool which may change keeps as long as the limits hold.

        Its minimum, or what it has if nobody knows what is queued there.
        """
        view = self.views[pool_id]
        least = view.spec.min_replicas
        if view.backlog_replica_s is None:
            return max(least, min(view.replicas, view.spec.max_replicas))
        return least

    def minimum(self) -> Allocation:
        """Every pool at its least; held ones as they are."""
        return {
            id: view.replicas if view.held else self.least(id) for id, view in self.views.items()
        }

    def present(self) -> Allocation:
        """What is, moved into the bounds of pools that may change."""
        return {
            id: view.replicas
            if view.held
            else min(max(view.replicas, view.spec.min_replicas), view.spec.max_replicas)
            for id, view in self.views.items()
        }

    def guaranteed(self, replicas: Mapping[PoolId, int]) -> Allocation:
        """The part of `replicas` that is within guarantees."""
        return {
            id: min(count, self.views[id].spec.guarantee_replicas) for id, count in replicas.items()
        }

    def _ratio(self, prefill: PoolId, decode: PoolId) -> float | None:
        feeding, fed = self.views[prefill], self.views[decode]
        shared = [
            stream
            for stream in self.goodput.streams
            if stream.model == feeding.spec.model == fed.spec.model
            and feeding.capacity_rps.get(stream.class_name, 0.0) > 0.0
            and fed.capacity_rps.get(stream.class_name, 0.0) > 0.0
        ]
        if not shared:
            return None
        name = max(shared, key=lambda stream: stream.rate_rps * stream.worth).class_name
        return feeding.capacity_rps[name] / fed.capacity_rps[name]
