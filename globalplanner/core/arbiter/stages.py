"""Which stages of requests pools do, as far as it is weighed what they serve."""

from collections.abc import Sequence

from globalplanner.core.arbiter.snapshot import PoolView
from weir.domain.fleet import Role
from weir.domain.ids import ModelName

__all__ = ["weighed_roles"]

_OTHER = {Role.PREFILL: Role.DECODE, Role.DECODE: Role.PREFILL}


def weighed_roles(views: Sequence[PoolView]) -> tuple[Role, ...]:
    """By view. A pool whose counterparts are all sized by somebody else does all that is weighed.

    What those serve is unknown, and it is for who sizes them to see that it is enough.
    """
    weighed: set[tuple[ModelName, Role]] = set()
    wished: set[tuple[ModelName, Role]] = set()
    for view in views:
        (wished if view.wish is not None else weighed).add((view.spec.model, view.spec.role))
    return tuple(
        Role.AGG
        if view.wish is None and _other(view) in wished and _other(view) not in weighed
        else view.spec.role
        for view in views
    )


def _other(view: PoolView) -> tuple[ModelName, Role]:
    return view.spec.model, _OTHER.get(view.spec.role, Role.AGG)
