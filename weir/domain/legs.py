"""Which requests do without a prefill leg although their pools come in pairs."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["TWO_LEGS", "LegRules", "WithoutPrefill"]


class WithoutPrefill(StrEnum):
    """What is done with a request while no worker is ready that could prefill it."""

    QUEUE = "queue"
    """It waits until one is."""

    RUN_ON_DECODE = "run_on_decode"
    """A decode worker computes its prompt, too."""

    REFUSE = "refuse"
    """It is shed at once, unless the workers are only to be started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRules:
    """Prompts of which fewer than `direct_below_tokens` are to be computed may go to decode."""

    direct_below_tokens: int = 0
    without_prefill: WithoutPrefill = WithoutPrefill.QUEUE


TWO_LEGS = LegRules()
"""Every request has a prefill leg, and waits for it."""
