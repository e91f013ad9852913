"""Output lengths that clients foretell, believed as far as they have proved true.

A hint is multiplied by what outputs have been per token that such hints promised: hints of about
this size, for the model and then for the tenant. So who always says too little, or too
much, is corrected within some requests.
"""

from collections.abc import Hashable

from router.core.fading import FadingQuotient
from weir.domain.ids import ModelName

__all__ = ["HintedLengths"]

_PRIOR_WEIGHT = 4.0
_MOST = 64.0
"""One request counts as at most so many times its hint."""
_CELLS = 4096


class HintedLengths:
    def __init__(self) -> None:
        self._cells: dict[Hashable, FadingQuotient] = {}

    def estimate(self, model: ModelName, tenant: str, hint_tokens: int) -> int:
        """Output tokens to expect, at least 1."""
        ratio = 1.0
        for key in _levels(model, tenant, hint_tokens):
            cell = self._cells.get(key)
            if cell is not None:
                ratio = cell.mean(ratio, _PRIOR_WEIGHT)
        return round(hint_tokens * ratio) or 1

    def observe(self, model: ModelName, tenant: str, hint_tokens: int, osl_tokens: int) -> None:
        """Learn from one completed request."""
        ratio = min(_MOST, osl_tokens / hint_tokens)
        for key in _levels(model, tenant, hint_tokens):
            cell = self._cells.get(key)
            if cell is None:
                if len(self._cells) >= _CELLS:
                    del self._cells[next(iter(self._cells))]
                cell = self._cells[key] = FadingQuotient()
            cell.add(ratio, 1.0)


def _levels(model: ModelName, tenant: str, hint_tokens: int) -> tuple[Hashable, ...]:
    """From the wider to the narrower."""
    wide = (model, hint_tokens.bit_length())
    return (wide, (*wide, tenant)) if tenant else (wide,)
