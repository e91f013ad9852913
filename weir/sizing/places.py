"""Where components and pools are among the programs."""

from collections.abc import Sequence

from weir.sizing.bundle import Bundle

__all__ = ["Places"]


class Places:
    """`of_component`: its bundle and row. `slots`: a pool's own, and the late one, -1 if none."""

    def __init__(self, bundles: Sequence[Bundle], component_of: Sequence[int]) -> None:
        self.bundles, self.component_of = bundles, component_of
        self.of_component = [(0, 0)] * sum(len(bundle.numbers) for bundle in bundles)
        self.slots = [(0, -1)] * len(component_of)
        for number, bundle in enumerate(bundles):
            for row, component in enumerate(bundle.numbers):
                self.of_component[component] = (number, row)
            for member, late in zip(bundle.members, bundle.late, strict=True):
                for i, pool in enumerate(member.pools):
                    self.slots[pool] = (i, -1)
                for i, position in enumerate(late):
                    self.slots[member.pools[position]] = (position, bundle.pools + i)
