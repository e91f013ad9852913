"""What a GlobalPlanner counts over all of its terms."""

from collections import deque
from dataclasses import dataclass, field

from globalplanner.standing import Change

__all__ = ["Tally"]

_CHANGES_KEPT = 200


@dataclass(slots=True)
class Tally:
    peak_charged_gpus: int = 0
    violations: int = 0
    changed: int = 0
    changes: deque[Change] = field(default_factory=lambda: deque(maxlen=_CHANGES_KEPT))

    def note(self, change: Change) -> None:
        self.changed += 1
        self.changes.append(change)

    def changes_after(self, count: int) -> list[Change]:
        """Those after the first `count`, as far as they are kept."""
        return list(self.changes)[max(0, len(self.changes) - max(0, self.changed - count)) :]
