"""What other GPUs or another load would come to, and what one more GPU would add.

Whole replicas are reckoned with as long as the best ones are found in a part of the time there
is; with very many pools fractions of replicas, which then make no difference that matters.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from globalplanner.core.arbiter.demand import streams_of
from globalplanner.core.arbiter.gain import Gain, asked_line, exceeded_lines, gain_lines
from globalplanner.core.arbiter.served import change_lines
from globalplanner.core.arbiter.snapshot import PoolView, Rules, Snapshot
from globalplanner.core.study.flows import aside_of
from globalplanner.core.study.more_gpus import classes_of, gpus_with, with_class_limits
from globalplanner.core.study.program import Best, Program
from weir.domain.fleet import Role
from weir.domain.ids import ClassName, PoolId

__all__ = ["WhatIfAnswer", "study"]

_SHARE_FOR_WHOLE = 0.1
"""Of the time that is left, for each look at whole replicas."""
_MOST_WHOLE_POOLS = 40
_NOTABLE_RPS = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIfAnswer:
    """`now`: as things are; the others with what is asked about.

    Values as of decisions; rates are requests/s within SLO. `price_by_limit`: what one more GPU
    there alone would add to `value`. `gains`: what more GPUs of a class would add, in the budget
    and in its node groups. `lines`: for a person.
    """

    value: float
    value_now: float
    full_value: float
    price_by_limit: Mapping[str, float]
    served_now_rps: Mapping[ClassName, float]
    served_rps: Mapping[ClassName, float]
    replicas_by_pool: Mapping[PoolId, int]
    gains: tuple[Gain, ...]
    lines: tuple[str, ...]


def study(
    snapshot: Snapshot,
    rules: Rules,
    more: Mapping[str, int],
    load_factor: float,
    left_s: Callable[[], float],
) -> WhatIfAnswer | None:
    """None if even what is asked first could not be found while `left_s` was above 0."""
    found = _Study(with_class_limits(snapshot), rules, more, load_factor, left_s)
    return found.answer()


class _Study:
    def __init__(
        self,
        snapshot: Snapshot,
        rules: Rules,
        more: Mapping[str, int],
        load_factor: float,
        left_s: Callable[[], float],
    ) -> None:
        self._snapshot = snapshot
        self._program = Program(snapshot, rules)
        self._more, self._load_factor = dict(more), load_factor
        self._left_s = left_s
        worths = [stream.worth for stream in streams_of(snapshot) if stream.rate_rps > 0.0]
        self._notable = _NOTABLE_RPS * min(worths, default=1.0)
        self._whole = False
        self._known: dict[object, Best | None] = {}

    def answer(self) -> WhatIfAnswer | None:
        """First what is and what would be, then what more would add to that."""
        self._whole = len(self._snapshot.pools) <= _MOST_WHOLE_POOLS
        now, then = self._best({}, 1.0), self._best(self._more, self._load_factor)
        whole = self._whole and now is not None and then is not None
        self._whole = False
        priced = self._best(self._more, self._load_factor)
        if not whole:
            now, then = self._best({}, 1.0), priced
        self._whole = whole
        if now is None or then is None or priced is None or priced.price_by_limit is None:
            return None
        gains = tuple(self._gains(then, priced))
        return WhatIfAnswer(
            value=then.value,
            value_now=now.value,
            full_value=then.full_value,
            price_by_limit=priced.price_by_limit,
            served_now_rps=now.served_rps,
            served_rps=then.served_rps,
            replicas_by_pool={id: round(count) for id, count in then.replicas.items()},
            gains=gains,
            lines=(
                asked_line(self._more, self._load_factor),
                *change_lines(now.served_rps, then.served_rps, self._offered()),
                *exceeded_lines(then.exceeded),
                *gain_lines(gains, classes_of(self._snapshot)),
            ),
        )

    def _offered(self) -> dict[ClassName, float]:
        loads = self._snapshot.loads or {}
        return {name: self._load_factor * load.rate_high_rps for name, load in loads.items()}

    def _best(self, more: Mapping[str, int], load_factor: float) -> Best | None:
        """None if it is not found, or not proven to be the best, in time."""
        gpus, left_s = gpus_with(self._snapshot, more), self._left_s()
        key = (self._whole, tuple(sorted(gpus.items())), load_factor)
        if key not in self._known and left_s > 0.0:
            share = _SHARE_FOR_WHOLE if self._whole else 1.0
            best = self._program.best(
                gpus, load_factor=load_factor, whole=self._whole, within_s=share * left_s
            )
            self._known[key] = best if best is not None and best.proven else None
        return self._known.get(key)

    def _gains(self, then: Best, priced: Best) -> Iterator[Gain]:
        """The fewest GPUs of each class that add something; none that were not found in time."""
        for gpu_class, views in classes_of(self._snapshot).items():
            for gpus in self._sizes(then, views):
                more = {**self._more, gpu_class: self._more.get(gpu_class, 0) + gpus}
                before, after = self._step(more, then, priced)
                if after is None:
                    break
                value = after.value - before.value
                if value >= self._notable:
                    added_rps = _added(before, after)
                    yield Gain(gpu_class=gpu_class, gpus=gpus, value=value, added_rps=added_rps)
                    break
            else:
                yield Gain(gpu_class=gpu_class, gpus=1)

    def _step(self, more: Mapping[str, int], then: Best, priced: Best) -> tuple[Best, Best | None]:
        """Before and after, both in whole replicas or, if these take too long, both in parts."""
        after, whole = self._best(more, self._load_factor), self._whole
        if after is not None or not whole:
            return then, after
        self._whole = False
        after = self._best(more, self._load_factor)
        self._whole = whole
        return priced, after

    def _sizes(self, then: Best, views: Sequence[PoolView]) -> list[int]:
        """GPUs that one replica lacks, or a prefill and a decode replica; the fewest first."""
        if not self._whole:
            return [min(view.spec.gpus_per_replica for view in views)]
        free = self._free(then)
        lacks = {view.spec.gpus_per_replica - free[view.spec.id] for view in views}
        pairs = [
            a.spec.gpus_per_replica + b.spec.gpus_per_replica - free[a.spec.id]
            for a in views
            for b in views
            if (a.spec.role, b.spec.role) == (Role.PREFILL, Role.DECODE)
        ]
        return sorted({max(1, gpus) for gpus in (*lacks, *sorted(pairs)[:1])})

    def _free(self, then: Best) -> dict[PoolId, int]:
        """GPUs that a pool could still have, by pool."""
        used = {
            view.spec.id: max(round(then.replicas[view.spec.id]), aside_of(view))
            * view.spec.gpus_per_replica
            for view in self._snapshot.pools
        }
        gpus = gpus_with(self._snapshot, self._more)
        left = [
            (limit, max(0, gpus[limit.name] - limit.used(used))) for limit in self._snapshot.limits
        ]
        return {
            id: min((n // limit.per_gpu(id) for limit, n in left if id in limit.pools), default=0)
            for id in used
        }


def _added(before: Best, after: Best) -> dict[ClassName, float]:
    names = sorted({*before.served_rps, *after.served_rps})
    added = {n: after.served_rps.get(n, 0.0) - before.served_rps.get(n, 0.0) for n in names}
    return {name: rate for name, rate in added.items() if abs(rate) >= _NOTABLE_RPS}
