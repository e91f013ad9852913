"""A quotient of two sums in which older observations count less and less."""

from dataclasses import dataclass

__all__ = ["FadingQuotient"]

_MEMORY = 256
_KEEP = 1.0 - 1.0 / _MEMORY


@dataclass(slots=True)
class FadingQuotient:
    """`amount` over `count`; about the last `_MEMORY` observations matter."""

    amount: float = 0.0
    count: float = 0.0

    def add(self, amount: float, count: float) -> None:
        self.amount = self.amount * _KEEP + amount
        self.count = self.count * _KEEP + count

    def fade(self, keep: float) -> None:
        """Let what was observed so far count only this much (0..1)."""
        self.amount *= keep
        self.count *= keep

    def mean(self, prior: float, prior_count: float) -> float:
        return (self.amount + prior * prior_count) / (self.count + prior_count)
