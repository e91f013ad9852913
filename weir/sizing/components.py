"""Which pools and classes have to do with each other, and programs of like size together.

Two pools of a model belong together if there is a class that both can serve, or a chain of such
pools between them. What one component is worth does not depend on the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weir.sizing.basis import Flags, Indices

__all__ = ["Component", "grouped", "split"]

_SMALL = 6000
"""Matrices of this many entries cost hardly more than the call."""
_RUNG = 3
_LEAST_RUNG = 8


@dataclass(frozen=True, slots=True)
class Component:
    """Positions of its pools and of the classes that they serve, both in ascending order."""

    model: int
    pools: tuple[int, ...]
    classes: tuple[int, ...]


def split(model: Indices, able: Flags, behind: Flags) -> list[Component]:
    """Components of pools of `model`, shape (pools,), by what each is `able` to serve.

    `able` has the shape (pools, classes). A pool that serves nothing is in none, unless it has
    queued work: then it is one by itself.
    """
    pools, classes = able.shape
    streams = classes * (int(model.max(initial=-1)) + 1)
    stream = model[:, None] * classes + np.arange(classes)
    label = np.arange(streams)
    at_pool, at_stream = able.nonzero()[0], stream[able]
    while True:
        of_pool = np.full(pools, streams)
        np.minimum.at(of_pool, at_pool, label[at_stream])
        lower = label.copy()
        np.minimum.at(lower, at_stream, of_pool[at_pool])
        lower = lower[lower]
        if (lower == label).all():
            break
        label = lower
    members: dict[int, list[int]] = {}
    for pool, name in enumerate(of_pool.tolist()):
        if name < streams:
            members.setdefault(name, []).append(pool)
    served: dict[int, list[int]] = {name: [] for name in members}
    for each, name in enumerate(label.tolist()):
        if name in served:
            served[name].append(each % classes)
    joined = [
        Component(int(model[found[0]]), tuple(found), tuple(sorted(served[name])))
        for name, found in sorted(members.items())
    ]
    alone = np.flatnonzero((of_pool == streams) & behind).tolist()
    return joined + [Component(int(model[pool]), (pool,), ()) for pool in alone]


def grouped(sizes: Sequence[int], width: int) -> list[list[int]]:
    """Which programs to solve together: all if they are small, otherwise those of like size.

    `sizes`: their sources; `width`: the most columns of any.
    """
    if len(sizes) * max(sizes, default=0) * width <= _SMALL:
        return [list(range(len(sizes)))] if sizes else []
    rungs: dict[int, list[int]] = {}
    for number, size in enumerate(sizes):
        rung = _LEAST_RUNG
        while rung < size:
            rung *= _RUNG
        rungs.setdefault(rung, []).append(number)
    return [numbers for _, numbers in sorted(rungs.items())]
