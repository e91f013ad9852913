"""What replica counts are worth: requests/s served within SLO, weighted.

Streams (the offered load of one class for one model) flow through prefill and decode pools or
through aggregated ones; a request counts once it has passed both stages, so a decode replica
that no prefill can feed is worth nothing. Flows are a linear program over the replicas' planned
capacities. Its value is concave in the replica counts, and its prices bound what more replicas
can add.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from weir.domain.fleet import Role, Stage
from weir.domain.ids import ClassName, ModelName, PoolId
from weir.sizing.linear import Floats, Optimum, maximise

__all__ = ["Flow", "Goodput", "Served", "Stream", "Supply"]

_LEAST_RATE_RPS = 1e-6
_MOST_CAPACITY = 1e6
"""In multiples of a stream's rate: keeps the program well scaled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Offered load of one class for one model; `worth` is that of one request within SLO."""

    class_name: ClassName
    model: ModelName
    rate_rps: float
    worth: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """One pool: `capacity_rps` is what one replica is planned to carry of each class.

    Catching up on queued work would keep `backlog_replicas` replicas busy besides the offered
    load; each is worth `backlog_worth` per second.
    """

    pool_id: PoolId
    role: Role
    model: ModelName
    capacity_rps: Mapping[ClassName, float]
    backlog_replicas: float = 0.0
    backlog_worth: float = 0.0

    def carries(self, stream: Stream) -> bool:
        return stream.model == self.model and self.capacity_rps.get(stream.class_name, 0.0) > 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Requests/s of `stream` that `pool_id` serves; `stage` is PREFILL for an `agg` pool too."""

    stream: Stream
    stage: Stage
    pool_id: PoolId
    rate_rps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """`price_by_pool`: what one more replica would add to `value`, at most; missing is 0.

    `catching_up`: replicas' worth of time that goes into queued work, by pool; missing is 0.
    """

    value: float
    price_by_pool: Mapping[PoolId, float]
    catching_up: Mapping[PoolId, float]
    _goodput: "Goodput"
    _optimum: Optimum | None = None

    @property
    def flows(self) -> tuple[Flow, ...]:
        return self._goodput.flows(self._optimum) if self._optimum is not None else ()


@dataclass(frozen=True, slots=True)
class _Column:
    stream: int
    stage: Stage
    supply: int


@dataclass(slots=True)
class _Chain:
    """Columns of one stream, by what they do for it."""

    whole: list[int] = field(default_factory=list)
    prefill: list[int] = field(default_factory=list)
    decode: list[int] = field(default_factory=list)

    @property
    def entry(self) -> list[int]:
        return [*self.whole, *self.prefill]


class Goodput:
    """Value by replica counts for given streams and supplies. Immutable.

    `utilization` is the share of a replica's time that its planned capacity stands for: the
    rest may catch up on queued work.
    """

    def __init__(
        self, streams: Sequence[Stream], supplies: Sequence[Supply], *, utilization: float
    ) -> None:
        self.supplies = tuple(supplies)
        self.streams = tuple(s for s in streams if s.rate_rps >= _LEAST_RATE_RPS)
        self._utilization = utilization
        self._columns: list[_Column] = []
        self._chains = [self._chain(index) for index in range(len(self.streams))]
        self._behind = [i for i, s in enumerate(self.supplies) if s.backlog_replicas > 0.0]
        worths, self._rows = self._program()
        self._scale = max(1e-12, float(worths.max(initial=0.0)))
        self._worths = worths / self._scale
        self.full_value = self._full_value()
        """The value when nothing is left unserved that some pool could serve."""

    @property
    def backlog(self) -> bool:
        """Whether there is queued work to catch up on."""
        return bool(self._behind)

    def of(
        self, replicas: Mapping[PoolId, int], *, carry: float = 1.0, near: Served | None = None
    ) -> Served:
        """The best flows through `replicas`, each carrying `carry` of its planned capacity.

        It is found sooner from that of replicas `near`; the value is the same.
        """
        if not self._worths.size:
            return Served(value=0.0, price_by_pool={}, catching_up={}, _goodput=self)
        counts = np.array([float(replicas.get(s.pool_id, 0)) for s in self.supplies])
        behind = np.array(self._behind, dtype=np.intp)
        backlog = np.array([self.supplies[i].backlog_replicas for i in self._behind])
        chains = len(self._chains)
        limits = np.concatenate(
            [np.ones(chains), np.zeros(chains), counts * carry, counts[behind], backlog]
        )
        solution = near._optimum.with_limits(limits) if near and near._optimum else None
        if solution is None:
            solution = maximise(self._worths, self._rows, limits)
        prices = solution.prices[2 * chains :]
        price = prices[: len(counts)] * carry
        price[behind] += prices[len(counts) : len(counts) + len(behind)]
        return Served(
            value=solution.value * self._scale,
            price_by_pool={
                supply.pool_id: float(price[i]) * self._scale
                for i, supply in enumerate(self.supplies)
                if price[i] > 0.0
            },
            catching_up={
                self.supplies[i].pool_id: float(time)
                for i, time in zip(self._behind, solution.x[len(self._columns) :], strict=True)
                if time > 0.0
            },
            _goodput=self,
            _optimum=solution,
        )

    def _chain(self, index: int) -> _Chain:
        stream, chain = self.streams[index], _Chain()
        places = {Role.AGG: chain.whole, Role.PREFILL: chain.prefill, Role.DECODE: chain.decode}
        able = [i for i, supply in enumerate(self.supplies) if supply.carries(stream)]
        roles = {self.supplies[i].role for i in able}
        if not {Role.PREFILL, Role.DECODE} <= roles:
            able = [i for i in able if self.supplies[i].role is Role.AGG]
        for i in able:
            role = self.supplies[i].role
            places[role].append(len(self._columns))
            stage = Stage.DECODE if role is Role.DECODE else Stage.PREFILL
            self._columns.append(_Column(index, stage, i))
        return chain

    def _worth(self, column: _Column) -> float:
        """Of carrying the whole stream, counted where it enters."""
        if column.stage is Stage.DECODE:
            return 0.0
        stream = self.streams[column.stream]
        return stream.rate_rps * stream.worth

    def _program(self) -> tuple[Floats, Floats]:
        """Columns: shares (0..1) of streams by pool, then replicas that catch up, by pool."""
        columns, chains, pools = len(self._columns), len(self._chains), len(self.supplies)
        behind = len(self._behind)
        rows = np.zeros((2 * chains + pools + 2 * behind, columns + behind))
        for index, chain in enumerate(self._chains):
            rows[index, chain.entry] = 1.0
            rows[chains + index, chain.prefill] = 1.0
            rows[chains + index, chain.decode] = -1.0
        use = rows[2 * chains : 2 * chains + pools]
        for number, column in enumerate(self._columns):
            stream, supply = self.streams[column.stream], self.supplies[column.supply]
            capacity_rps = supply.capacity_rps[stream.class_name] / stream.rate_rps
            use[column.supply, number] = 1.0 / min(capacity_rps, _MOST_CAPACITY)
        worths = np.array([self._worth(column) for column in self._columns] + [0.0] * behind)
        for number, i in enumerate(self._behind):
            catch_up = rows[2 * chains + pools + number]
            catch_up[:columns] = use[i, :columns] * self._utilization
            catch_up[columns + number] = 1.0
            rows[2 * chains + pools + behind + number, columns + number] = 1.0
            worths[columns + number] = self.supplies[i].backlog_worth
        return worths, rows

    def _full_value(self) -> float:
        served = sum(
            stream.rate_rps * stream.worth
            for stream, chain in zip(self.streams, self._chains, strict=True)
            if chain.entry
        )
        return served + sum(
            self.supplies[i].backlog_replicas * self.supplies[i].backlog_worth for i in self._behind
        )

    def flows(self, optimum: Optimum) -> tuple[Flow, ...]:
        """What goes where in an optimum of this program."""
        return tuple(
            Flow(
                stream=self.streams[column.stream],
                stage=column.stage,
                pool_id=self.supplies[column.supply].pool_id,
                rate_rps=float(share) * self.streams[column.stream].rate_rps,
            )
            for column, share in zip(self._columns, optimum.x[: len(self._columns)], strict=True)
            if share > 0.0
        )
