"""How far a request may ask for more than is its due; for less it may always ask."""

from dataclasses import dataclass
from math import inf

__all__ = ["ASK_FOR_LESS", "HintRules"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HintRules:
    """`tighten_to`: the least share of its class's targets that a request may ask for.

    `raise_priority`: how far above its class's priority it may go.
    """

    tighten_to: float = 1.0
    raise_priority: int = 0

    def target_s(self, asked_s: float, of_class_s: float) -> float:
        """The target that counts. A class without one leaves it to the request."""
        return asked_s if of_class_s == inf else max(asked_s, self.tighten_to * of_class_s)

    def priority(self, of_class: int, later: int | None) -> int:
        """The priority that counts; `later` as in `RequestProfile.priority`."""
        return of_class - max(-self.raise_priority, later or 0)


ASK_FOR_LESS = HintRules()
"""Nothing beyond what its class is due."""
