"""What other GPUs or another load would come to, and what one more GPU would add.

Whole replicas are reckoned with as long as the best ones are found in a part of the time there
is; with very many pools fractions of replicas, which then make no difference that matters.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from globalplanner.core.flows import aside_of
from globalplanner.core.more_gpus import classes_of, gpus_with, with_class_limits
from globalplanner.core.program import Best, Program
from globalplanner.core.served import change_lines, rps
from globalplanner.core.snapshot import PoolView, Rules, Snapshot
from weir.domain.fleet import Role
from weir.domain.ids import ClassName, PoolId

__all__ = ["Gain", "WhatIfAnswer", "study"]

_SHARE_FOR_WHOLE = 0.25
"""Of the time that is left, for a first look at whether whole replicas are found in time."""
_MOST_WHOLE_POOLS = 100
_NOTABLE_RPS = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What so many more GPUs of one class would add, in requests/s within SLO."""

    gpu_class: str
    gpus: int
    added_rps: Mapping[ClassName, float]

    @property
    def total_rps(self) -> float:
        return sum(self.added_rps.values())


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
        self._whole = False
        self._known: dict[object, Best | None] = {}

    def answer(self) -> WhatIfAnswer | None:
        """First what is, then what would be, then what more would add to that."""
        priced = self._best(self._more, self._load_factor)
        now = self._now()
        then = self._best(self._more, self._load_factor) if self._whole else priced
        if now is None or then is None or priced is None or priced.price_by_limit is None:
            return None
        gains = tuple(self._gains(then))
        return WhatIfAnswer(
            value=then.value,
            value_now=now.value,
            full_value=then.full_value,
            price_by_limit=priced.price_by_limit,
            served_now_rps=now.served_rps,
            served_rps=then.served_rps,
            replicas_by_pool={id: round(count) for id, count in then.replicas.items()},
            gains=gains,
            lines=tuple(self._lines(now, then, gains)),
        )

    def _now(self) -> Best | None:
        """As things are. Decides whether whole replicas are reckoned with from here on."""
        if len(self._snapshot.pools) <= _MOST_WHOLE_POOLS and self._left_s() > 0.0:
            whole = self._program.best(whole=True, within_s=_SHARE_FOR_WHOLE * self._left_s())
            if whole is not None and whole.proven:
                self._whole = True
                return whole
        return self._best({}, 1.0)

    def _best(self, more: Mapping[str, int], load_factor: float) -> Best | None:
        gpus, left_s = gpus_with(self._snapshot, more), self._left_s()
        key = (self._whole, tuple(sorted(gpus.items())), load_factor)
        if key not in self._known and left_s > 0.0:
            self._known[key] = self._program.best(
                gpus, load_factor=load_factor, whole=self._whole, within_s=left_s
            )
        return self._known.get(key)

    def _gains(self, then: Best) -> Iterator[Gain]:
        """The fewest GPUs of each class that add something; none that were not found in time."""
        for gpu_class, views in classes_of(self._snapshot).items():
            for gpus in self._sizes(then, views):
                more = {**self._more, gpu_class: self._more.get(gpu_class, 0) + gpus}
                found = self._best(more, self._load_factor)
                if found is None:
                    break
                gain = Gain(gpu_class=gpu_class, gpus=gpus, added_rps=_added(then, found))
                if abs(gain.total_rps) >= _NOTABLE_RPS:
                    yield gain
                    break
            else:
                yield Gain(gpu_class=gpu_class, gpus=1, added_rps={})

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
            (limit.pools, max(0, gpus[limit.name] - limit.used(used)))
            for limit in self._snapshot.limits
        ]
        return {id: min((n for pools, n in left if id in pools), default=0) for id in used}

    def _lines(self, now: Best, then: Best, gains: tuple[Gain, ...]) -> Iterator[str]:
        asked = ", ".join(
            f"{abs(n)} {'more' if n > 0 else 'fewer'} {name}"
            for name, n in sorted(self._more.items())
            if n
        )
        load = "" if self._load_factor == 1.0 else f"{self._load_factor:g} times the load"
        yield " and ".join(part for part in (asked, load) if part) or "as things are"
        loads = self._snapshot.loads or {}
        offered = {n: self._load_factor * load.rate_high_rps for n, load in loads.items()}
        yield from change_lines(now.served_rps, then.served_rps, offered)
        for name, gpus in sorted(then.exceeded.items()):
            yield (
                f"{name}: floors and pools that do not change need {gpus} more GPUs than it"
                " would hold; they are reckoned with all the same"
            )
        yield from map(_gain_line, gains)
        told = {gain.gpu_class for gain in gains}
        for gpu_class in classes_of(self._snapshot):
            if gpu_class not in told:
                yield f"what more {gpu_class} would add was not found in time"


def _added(before: Best, after: Best) -> dict[ClassName, float]:
    names = sorted({*before.served_rps, *after.served_rps})
    added = {n: after.served_rps.get(n, 0.0) - before.served_rps.get(n, 0.0) for n in names}
    return {name: rate for name, rate in added.items() if abs(rate) >= _NOTABLE_RPS}


def _gain_line(gain: Gain) -> str:
    if not gain.added_rps:
        return f"more {gain.gpu_class} would add nothing"
    parts = ", ".join(f"{name} {rps(rate)}" for name, rate in sorted(gain.added_rps.items()))
    count = "one" if gain.gpus == 1 else f"{gain.gpus}"
    return f"{count} more {gain.gpu_class} would add {rps(gain.total_rps)} rps within SLO ({parts})"
