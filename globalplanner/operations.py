"""What operators change while the fleet runs: checked, applied and durable, or not at all.

Changes happen one at a time, and each to its end, also if who has asked for it goes away. One that
cannot be stored in time is taken back; whether the record has it nevertheless is settled by the
next write, which holds what counts then.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from globalplanner.core.operators.effective import check_always, effective, gpu_classes
from globalplanner.core.operators.proposals import Gate, Mode
from globalplanner.core.study.differences import budget_differences, differences
from globalplanner.core.study.effect import Effect, predict
from globalplanner.core.study.supposed import supposed
from globalplanner.service import GlobalPlanner
from weir.domain.errors import (
    InfeasibleFloorsError,
    UnavailableError,
    UnknownClassError,
    UnknownPoolError,
)
from weir.domain.fleet import Fleet
from weir.domain.ids import ClassName, PoolId
from weir.domain.overrides import ClassTargets, Overrides
from weir.fleet.class_checks import why_unserved
from weir.fleet.feasible import routes

__all__ = ["Operations"]

_log = logging.getLogger("weir.globalplanner")
_STORED_S = 2.0
_MOST_GPUS = 1_000_000
_MOST_S = 1e6
_MOST_WEIGHT = 1e9
_MOST_PRIORITY = 1000
_NO_REASON = "no reason given"


class Operations:
    """`unix_s`: the time of day, which budget windows go by.

    All raise `UnavailableError` if this process does not lead or cannot store the change,
    `ValueError` for what makes no sense, `UnknownError` for what the fleet does not have.
    """

    def __init__(self, planner: GlobalPlanner, gate: Gate, unix_s: Callable[[], float]) -> None:
        self._planner = planner
        self._gate = gate
        self._unix_s = unix_s
        self._one_at_a_time = asyncio.Lock()
        self._going_on: set[asyncio.Task[Effect]] = set()

    async def set_budget(
        self, gpus: int | None, gpus_by_class: Mapping[str, int], *, dry_run: bool
    ) -> Effect:
        """Live limits; what is not given counts as in the document.

        Raises `InfeasibleFloorsError` if the floors do not fit them.
        """
        if gpus is not None:
            _whole("gpus", gpus, least=1)
        known = gpu_classes(self._planner.document)
        for name, count in gpus_by_class.items():
            if name not in known:
                raise ValueError(f"no node group has GPU class {name!r}; known: {_list(known)}")
            _whole(f"gpus_by_class[{name}]", count, least=0)

        def change(overrides: Overrides) -> Overrides:
            return replace(overrides, budget_gpus=gpus, gpus_by_class=dict(gpus_by_class))

        return await self._change(change, self._of_budget, dry_run=dry_run, floors=True)

    async def set_slo(
        self, class_name: ClassName, targets: ClassTargets, *, dry_run: bool
    ) -> Effect:
        """Live targets in place of those set before; without any the document's count."""
        _check_targets(targets)
        classes = {item.name for item in self._planner.document.classes}
        if class_name not in classes | self._planner.overrides.targets.keys():
            raise UnknownClassError(class_name)

        def change(overrides: Overrides) -> Overrides:
            others = {n: t for n, t in overrides.targets.items() if n != class_name}
            if targets != ClassTargets():
                others[class_name] = targets
            return replace(overrides, targets=others)

        def told(before: Fleet, after: Fleet) -> Iterator[str]:
            for item in after.classes:
                if item.name == class_name and (problem := why_unserved(after, item)):
                    raise ValueError(f"class {class_name}: {problem}")
            yield from differences(before, after)

        return await self._change(change, told, dry_run=dry_run)

    async def freeze(
        self, pool_id: PoolId | None, *, thaw: bool, why: str, dry_run: bool
    ) -> Effect:
        """The pool, or with None every pool there is, keeps what it has, or (`thaw`) no longer."""
        pools = self._known(pool_id, self._planner.overrides.frozen, undo=thaw)

        def change(overrides: Overrides) -> Overrides:
            frozen = _marked(overrides.frozen, pools, why, undo=thaw)
            return replace(overrides, frozen=frozen)

        def told(before: Fleet, after: Fleet) -> Iterator[str]:
            for id in pools:
                frozen = self._planner.overrides.frozen
                if thaw:
                    yield f"pool {id}: thawed" if id in frozen else f"pool {id} was not frozen"
                elif id in self._planner.overrides.drained:
                    yield f"pool {id}: is drained, which goes on; undo that to keep its replicas"
                else:
                    yield f"pool {id}: keeps what it has until it is thawed"

        return await self._change(change, told, dry_run=dry_run)

    async def drain(self, pool_id: PoolId, *, undo: bool, why: str, dry_run: bool) -> Effect:
        """The pool goes down to nothing, or (`undo`) is sized again.

        Of a pool that the document has no more, and that has never reported, it says that nothing
        runs there. Raises `InfeasibleFloorsError` if its floor does not fit any more.
        """
        if not undo and pool_id in self._planner.lost_pools:
            return self._forget(pool_id, dry_run=dry_run)
        pools = self._known(pool_id, self._planner.overrides.drained, undo=undo)

        def change(overrides: Overrides) -> Overrides:
            drained = _marked(overrides.drained, pools, why, undo=undo)
            return replace(overrides, drained=drained)

        def told(before: Fleet, after: Fleet) -> Iterator[str]:
            drained = self._planner.overrides.drained
            if undo and pool_id in drained:
                yield f"pool {pool_id}: is sized again"
            elif undo:
                yield f"pool {pool_id} was not drained"
            else:
                yield from _without(after, pool_id, drained.keys())
                yield f"pool {pool_id}: goes down to nothing; its minimum and floor do not count"

        return await self._change(change, told, dry_run=dry_run, floors=undo)

    async def approve(self, proposal_id: str, *, reject: bool) -> tuple[str, ...]:
        """Let a waiting proposal happen, or drop it."""
        self._lead()
        if reject:
            self._gate.reject(proposal_id)
            return (f"{proposal_id} is dropped, and not proposed again for a while",)
        proposal = self._gate.approve(proposal_id)
        self._planner.wake.set()
        return tuple(
            f"pool {change.pool_id}: {change.before} -> {change.after}"
            for change in proposal.changes
        )

    def _forget(self, pool_id: PoolId, *, dry_run: bool) -> Effect:
        self._lead()
        value = self._planner.latest.value if self._planner.latest is not None else 0.0
        line = f"pool {pool_id}: counts no more, on your word that nothing of it runs"
        if not dry_run:
            self._planner.forget(pool_id)
            _log.warning("changed live: %s", line)
        return Effect(
            applied=not dry_run,
            lines=(line,),
            value_before=value,
            value_after=value,
            served_before_rps={},
            served_after_rps={},
        )

    async def _change(
        self,
        change: Callable[[Overrides], Overrides],
        told: Callable[[Fleet, Fleet], Iterator[str]],
        *,
        dry_run: bool,
        floors: bool = False,
    ) -> Effect:
        work = self._to_its_end(change, told, dry_run=dry_run, floors=floors)
        task = asyncio.create_task(work)
        self._going_on.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Effect]) -> None:
        self._going_on.discard(task)
        if not task.cancelled():
            task.exception()  # who has asked may be gone; then nobody else looks at it

    async def _to_its_end(
        self,
        change: Callable[[Overrides], Overrides],
        told: Callable[[Fleet, Fleet], Iterator[str]],
        *,
        dry_run: bool,
        floors: bool,
    ) -> Effect:
        async with self._one_at_a_time:
            self._lead()
            planner = self._planner
            before = planner.overrides
            overrides = change(before)
            if floors:
                check_always(planner.document, overrides)
            fleet = self._effective(overrides)
            lines = tuple(told(planner.fleet, fleet))
            effect = await self._effect(fleet, overrides, lines)
            if dry_run:
                return effect
            planner.revise(self._effective(overrides), overrides)
            try:
                await planner.stored(_STORED_S)
            except UnavailableError:
                with suppress(InfeasibleFloorsError):  # the document has changed meanwhile
                    planner.revise(self._effective(before), before)
                raise UnavailableError(
                    f"the change could not be stored within {_STORED_S:g} s and was taken back; "
                    "look with `weir status` before you try again"
                ) from None
            for line in effect.lines:
                _log.info("changed live: %s", line)
            return replace(effect, applied=True)

    def _effective(self, overrides: Overrides) -> Fleet:
        """With the document and the budget window of now; both may change while others wait."""
        return effective(self._planner.document, overrides, self._unix_s())

    async def _effect(self, fleet: Fleet, overrides: Overrides, lines: Sequence[str]) -> Effect:
        planner = self._planner
        now = planner.moment()
        if now is None:
            raise UnavailableError(f"this GlobalPlanner {planner.not_ready()}")
        then = supposed(now, fleet, planner.rules, overrides=overrides, before=planner.overrides)
        effect = await asyncio.to_thread(predict, now, then, planner.rules)
        return replace(effect, applied=False, lines=(*lines, *effect.lines, *self._hindrance()))

    def _hindrance(self) -> Iterator[str]:
        """Why what is predicted may not happen by itself."""
        if self._gate.mode is Mode.APPROVE:
            yield "what limits and bounds do not force waits for `weir approve`"
        elif self._gate.mode is Mode.ADVISE:
            yield "this GlobalPlanner only advises: pools keep what they have"

    def _of_budget(self, before: Fleet, after: Fleet) -> Iterator[str]:
        yield from list(budget_differences(before.budget, after.budget)) or [
            "the budget is as before"
        ]
        charged = self._planner.standing().charged_gpus
        if charged > after.budget.gpus:
            more = charged - after.budget.gpus
            yield f"{charged} GPUs are charged: {more} have to go, and nobody grows before that"

    def _known(
        self, pool_id: PoolId | None, marked: Mapping[PoolId, str], *, undo: bool
    ) -> tuple[PoolId, ...]:
        """Pools that are meant. Raises `UnknownPoolError`."""
        pools = [pool.id for pool in self._planner.document.pools]
        if pool_id is None:
            return tuple(sorted(marked)) if undo else tuple(pools)
        if pool_id not in pools and not (undo and pool_id in marked):
            raise UnknownPoolError(pool_id)
        return (pool_id,)

    def _lead(self) -> None:
        if self._planner.term == 0:
            raise UnavailableError(f"this GlobalPlanner {self._planner.not_ready()}")


def _marked(
    marked: Mapping[PoolId, str], pools: Sequence[PoolId], why: str, *, undo: bool
) -> dict[PoolId, str]:
    """With these pools marked too, or not any more. Earlier reasons stay if no new one is given."""
    if undo:
        return {id: reason for id, reason in marked.items() if id not in pools}
    return {**marked, **{id: why or marked.get(id, _NO_REASON) for id in pools}}


def _without(fleet: Fleet, pool_id: PoolId, drained: Collection[PoolId]) -> Iterator[str]:
    """Loudly: models that nothing serves any more."""
    gone = {pool_id, *drained}
    spec = fleet.pool(pool_id)
    rest = replace(fleet, pools=tuple(pool for pool in fleet.pools if pool.id not in gone))
    if not any(routes(rest, spec.model)):
        yield (
            f"NOTHING WILL SERVE MODEL {spec.model}: no other pool takes the {spec.role} stage of "
            f"{pool_id}, so all its requests go unserved"
        )


def _check_targets(targets: ClassTargets) -> None:
    """Raises `ValueError` naming what no class can have."""
    for name, value, most in (
        ("ttft_s", targets.ttft_s, _MOST_S),
        ("itl_s", targets.itl_s, _MOST_S),
        ("weight", targets.weight, _MOST_WEIGHT),
    ):
        if value is not None and not (math.isfinite(value) and 0.0 < value <= most):
            raise ValueError(f"{name} must be above 0 and at most {most:g}, not {value:g}")
    if targets.priority is not None and abs(targets.priority) > _MOST_PRIORITY:
        raise ValueError(f"priority must be within +-{_MOST_PRIORITY}, not {targets.priority}")


def _whole(name: str, value: int, *, least: int) -> None:
    if not least <= value <= _MOST_GPUS:
        raise ValueError(f"{name} must be {least} to {_MOST_GPUS} GPUs, not {value}")


def _list(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "none"
