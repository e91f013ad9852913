"""Metrics of several registries on one page."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

__all__ = ["merged"]


class _Merged(Collector):
    """Families of the same name become one, as the text format wants it."""

    def __init__(self, registries: Iterable[CollectorRegistry]) -> None:
        self._registries = tuple(registries)

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for registry in self._registries:
            for family in registry.collect():
                known = families.setdefault(family.name, family)
                if known is not family:
                    known.samples.extend(family.samples)
        return families.values()


def merged(registries: Iterable[CollectorRegistry]) -> CollectorRegistry:
    """One registry that shows what all of these have; their samples must differ in a label."""
    both = CollectorRegistry()
    both.register(_Merged(registries))
    return both
