"""The moment as it would be if operators changed something: for saying what it would come to."""

from dataclasses import replace

from globalplanner.core.arbiter.snapshot import PoolView, Rules, Snapshot
from globalplanner.core.budget.limits import limits_of
from globalplanner.core.study.retarget import with_classes
from weir.domain.fleet import Fleet
from weir.domain.overrides import Overrides

__all__ = ["supposed"]


def supposed(
    snapshot: Snapshot, fleet: Fleet, rules: Rules, *, overrides: Overrides, before: Overrides
) -> Snapshot:
    """`snapshot`, taken under `before`, if `overrides` counted, which come to `fleet`.

    A pool whose silence holds it as well as its freeze counts as free once it is thawed.
    """
    specs = {pool.id: pool for pool in fleet.pools}
    pools = tuple(
        _view(replace(view, spec=specs.get(view.spec.id, view.spec)), overrides, before)
        for view in snapshot.pools
    )
    gone = [view.spec for view in snapshot.pools if view.spec.id not in specs]
    found = replace(snapshot, pools=pools, limits=limits_of(fleet, gone))
    return with_classes(found, fleet.classes, rules)


def _view(view: PoolView, overrides: Overrides, before: Overrides) -> PoolView:
    """A drain counts before a freeze."""
    id = view.spec.id
    held, ceiling = view.held, view.ceiling
    if id in before.frozen or id in overrides.drained:
        held = ""
    if id in overrides.frozen and id not in overrides.drained:
        held = view.held or f"frozen: {overrides.frozen[id]}"
    if id in overrides.drained:
        ceiling = 0
    elif id in before.drained:
        ceiling = None
    return replace(view, held=held, ceiling=ceiling)
