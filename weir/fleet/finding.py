"""What is wrong or doubtful in a document: one finding per line of the report."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from weir.fleet.tree import Path, Tree

__all__ = ["Finding", "Level", "at", "in_order", "problem"]


class Level(StrEnum):
    """An error makes the document unusable, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`place` is where it was written ("line 7", "--set a=b"), `path` what it is about."""

    level: Level
    place: str
    path: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.place, self.path, self.message) if part)

    @property
    def line(self) -> int | None:
        """Line in the file, None for what came from an override."""
        match = re.match(r"line (\d+)$", self.place)
        return int(match[1]) if match else None


def at(tree: Tree, path: Path, message: str, *, level: Level = Level.ERROR) -> Finding:
    """A finding about what is at `path`."""
    return Finding(level=level, place=tree.place(path), path=tree.show(path), message=message)


def problem(place: str, message: str) -> Finding:
    """An error that no path in the document stands for."""
    return Finding(level=Level.ERROR, place=place, path="", message=message)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, each kind in the order of the file, overrides last; no duplicates."""
    unique = dict.fromkeys(findings)
    return sorted(
        unique,
        key=lambda found: (found.level != Level.ERROR, found.line is None, found.line or 0),
    )
