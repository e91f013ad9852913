"""A decision that has changed something, as it is kept for people to read later."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from weir.domain.ids import ClassName, PoolId

__all__ = ["Alternative", "DecisionRecord", "Explanation", "Outcome", "PoolChange"]


class Outcome(StrEnum):
    """What became of a decision."""

    ACTED = "acted"
    """Pools have been granted what it says, as far as the charges allowed."""

    APPROVED = "approved"
    """As `ACTED`, after a person has let it happen."""

    PROPOSED = "proposed"
    """It waits for a person; only what limits forced has been done."""

    ADVISED = "advised"
    """It has been told, and nothing was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolChange:
    """One pool's part. `before == after` if nothing changed for it."""

    pool_id: PoolId
    before: int
    after: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """What was weighed and not done: it would have added `value` to the value of the decision."""

    what: str
    value: float
    why_not: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """`id` is "TERM.NUMBER", `at_s` model time. `pools`: all, changed or not.

    `inputs_digest`: SHA-256, in hexadecimal, of everything the decision was made from. `value`:
    weighted requests/s within SLO that it is worth, `full_value` what serving everything would
    be; None if demand was not weighed, and `holding` says why. `price_by_limit`: what one more GPU
    under each limit would add to the value. `plan_version`: None if there is no routing plan.
    """

    id: str
    term: int
    at_unix_s: float
    at_s: float
    inputs_digest: str
    outcome: Outcome
    pools: tuple[PoolChange, ...]
    class_reasons: Mapping[ClassName, str] = field(default_factory=dict)
    alternatives: tuple[Alternative, ...] = ()
    value: float | None = None
    full_value: float | None = None
    price_by_limit: Mapping[str, float] = field(default_factory=dict)
    budget_gpus: int = 0
    charged_gpus: int = 0
    plan_version: int | None = None
    holding: str = ""

    @property
    def order(self) -> tuple[int, int]:
        """Later decisions have a higher one, those of later leaders too."""
        number = self.id.rpartition(".")[2]
        return self.term, int(number) if number.isdecimal() else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """`lines` for a person; `record` of the decision that they are about, if it is kept."""

    lines: tuple[str, ...]
    record: DecisionRecord | None = None
