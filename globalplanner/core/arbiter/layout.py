"""What stays the same from one decision to the next: pools, bounds, limits, by position."""

from collections.abc import Sequence

import numpy as np

from globalplanner.core.arbiter.snapshot import PoolView, Snapshot
from globalplanner.core.budget.limits import Limit
from weir.domain.fleet import PoolSpec, RequestClass, Role
from weir.sizing.basis import Floats

__all__ = ["Layout"]

_PRIORITY_FACTOR = 100.0
_PRIORITY_SPAN = 1e6
"""Classes of a higher priority outweigh lower ones, within what floating point can tell apart."""


class Layout:
    """Pools are in the order of their ids, classes and models in that of their names."""

    def __init__(
        self,
        specs: tuple[PoolSpec, ...],
        classes: tuple[RequestClass, ...],
        limits: tuple[Limit, ...],
    ) -> None:
        self._source = (specs, classes, limits)
        self._order = sorted(range(len(specs)), key=lambda i: specs[i].id)
        self.specs = tuple(specs[i] for i in self._order)
        self.ids = tuple(spec.id for spec in self.specs)
        self.at = {id: i for i, id in enumerate(self.ids)}
        self.roles = tuple(spec.role for spec in self.specs)
        self.decodes = np.array([role is Role.DECODE for role in self.roles], dtype=bool)
        self.prefills = np.array([role is Role.PREFILL for role in self.roles], dtype=np.intp)
        self.gpus = [spec.gpus_per_replica for spec in self.specs]
        self.start_up_s = [spec.start_up_s for spec in self.specs]
        self.least = [spec.min_replicas for spec in self.specs]
        self.most = [spec.most_replicas for spec in self.specs]
        self.aside = [spec.aside_replicas for spec in self.specs]
        self.guarantee = [spec.guarantee_replicas for spec in self.specs]
        self.models = sorted({spec.model for spec in self.specs})
        rank = {model: i for i, model in enumerate(self.models)}
        self.model = np.array([rank[spec.model] for spec in self.specs], dtype=np.intp)
        self.classes = tuple(sorted(classes, key=lambda c: c.name))
        self.names = tuple(c.name for c in self.classes)
        self.worth = self._worth()
        """Of one request within SLO, shape (models, classes)."""
        self.limits = limits
        self.limit_most = [limit.most for limit in limits]
        self.budget_gpus = max((each.most for each in limits if not each.watts), default=0)
        self.limits_of = [
            tuple(k for k, limit in enumerate(limits) if id in limit.pools) for id in self.ids
        ]
        self.takes = np.array(
            [
                [
                    gpus * limit.per_gpu(id) if id in limit.pools else 0
                    for id, gpus in zip(self.ids, self.gpus, strict=True)
                ]
                for limit in limits
            ],
            dtype=np.intp,
        ).reshape(len(limits), len(self.ids))
        """What a replica of each pool takes of each limit: GPUs, or watts."""
        self.takes_of = [
            tuple((k, int(self.takes[k, i])) for k in those)
            for i, those in enumerate(self.limits_of)
        ]
        self.size = self._sizes()
        """What replicas are compared by: GPUs, or as many as their watts are worth."""
        self.per_gpu = [max(limit.watts.values(), default=1) for limit in limits]
        """What a GPU takes of each limit at the most, to compare what limits have to give."""

    @staticmethod
    def of(snapshot: Snapshot, before: "Layout | None") -> "Layout":
        """That of the snapshot: the one `before` if nothing has changed."""
        specs = tuple(view.spec for view in snapshot.pools)
        source = (specs, snapshot.classes, snapshot.limits)
        return before if before is not None and before._source == source else Layout(*source)

    def sorted(self, views: Sequence[PoolView]) -> list[PoolView]:
        return [views[i] for i in self._order]

    def _sizes(self) -> list[float]:
        """Of pools of equal use the one goes first that takes less of what is short.

        That is watts where they are a larger share of the power than GPUs are of the budget.
        """
        power = [k for k, limit in enumerate(self.limits) if limit.watts and limit.most > 0]
        return [
            max([gpus, *(self.takes[k, i] / self.limit_most[k] * self.budget_gpus for k in power)])
            for i, gpus in enumerate(self.gpus)
        ]

    def _worth(self) -> Floats:
        """By class, and by the mean weight of each model's pools."""
        priorities = sorted({c.priority for c in self.classes})
        factor = min(_PRIORITY_FACTOR, _PRIORITY_SPAN ** (1.0 / max(1, len(priorities) - 1)))
        of_class = [c.weight * factor ** priorities.index(c.priority) for c in self.classes]
        weights = np.array([spec.weight for spec in self.specs])
        pools = np.bincount(self.model, minlength=len(self.models))
        of_model = np.bincount(self.model, weights, len(self.models)) / np.maximum(pools, 1)
        worth: Floats = of_model[:, None] * np.array(of_class)[None, :]
        return worth
