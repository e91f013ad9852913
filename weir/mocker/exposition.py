"""Prometheus' text format from plain numbers.

prometheus_client would be most of this process's start-up time, and locks on every count.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence

__all__ = ["Buckets", "Exposition"]


class Buckets:
    """A histogram: counts by upper bound, their sum and their number."""

    __slots__ = ("bounds", "count", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0
        self.count = 0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times
        self.count += times


class Exposition:
    """Collects lines; every sample gets the labels given here."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = dict(labels)
        self._lines: list[str] = []

    def add(self, kind: str, name: str, help_text: str, value: float) -> None:
        """A gauge or counter (named with its `_total`) without labels of its own."""
        self.family(kind, name, help_text, [({}, value)])

    def family(
        self,
        kind: str,
        name: str,
        help_text: str,
        samples: Sequence[tuple[Mapping[str, str], float]],
    ) -> None:
        """A gauge or counter with a sample for each set of labels."""
        self._head(kind, name, help_text)
        for labels, value in samples:
            self._lines.append(f"{name}{self._braces(labels)} {value:.12g}")

    def histogram(self, name: str, help_text: str, buckets: Buckets) -> None:
        self._head("histogram", name, help_text)
        seen = 0
        for bound, count in zip(buckets.bounds, buckets.counts, strict=False):
            seen += count
            self._lines.append(f"{name}_bucket{self._braces({'le': repr(float(bound))})} {seen}")
        self._lines.append(f"{name}_bucket{self._braces({'le': '+Inf'})} {buckets.count}")
        self._lines.append(f"{name}_sum{self._braces({})} {buckets.total:.12g}")
        self._lines.append(f"{name}_count{self._braces({})} {buckets.count}")

    def render(self) -> bytes:
        return ("\n".join(self._lines) + "\n").encode()

    def _head(self, kind: str, name: str, help_text: str) -> None:
        self._lines += (f"# HELP {name} {help_text}", f"# TYPE {name} {kind}")

    def _braces(self, labels: Mapping[str, str]) -> str:
        pairs = {**self._labels, **labels}.items()
        return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
