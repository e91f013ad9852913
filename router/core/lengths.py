"""How long prompts and outputs are: learned from finished requests, per tenant and shape.

Both estimators blend from wide to narrow: each level's mean counts as `_PRIOR_WEIGHT` (or
`_PRIOR_TOKENS`) observations of the next narrower one, so a new tenant starts from what its
model shows, a new model from the fleet's prior, and nothing jumps. Each observation lets
the older ones fade, so that a change of traffic is followed within some hundred requests.
"""

from collections.abc import Hashable
from math import ceil
from typing import Generic, TypeVar

from router.core.fading import FadingQuotient
from weir.domain.ids import ModelName

__all__ = ["OutputLengths", "PromptLengths"]

_PRIOR_WEIGHT = 4.0
_PRIOR_TOKENS = 1024.0
_CELLS = 4096
_RATIO_LIMITS = (0.05, 64.0)

_K = TypeVar("_K", bound=Hashable)


class _Cells(Generic[_K]):
    """At most `_CELLS` cells; the one created first goes first. Clients choose tenants."""

    def __init__(self) -> None:
        self._cells: dict[_K, FadingQuotient] = {}

    def get(self, key: _K) -> FadingQuotient | None:
        return self._cells.get(key)

    def add(self, key: _K, amount: float, count: float) -> None:
        cell = self._cells.get(key)
        if cell is None:
            if len(self._cells) >= _CELLS:
                del self._cells[next(iter(self._cells))]
            cell = self._cells[key] = FadingQuotient()
        cell.add(amount, count)


class PromptLengths:
    """Prompt tokens from prompt bytes, by the bytes-per-token ratio engines report."""

    def __init__(self, bytes_per_token: float) -> None:
        self._prior = bytes_per_token
        self._models: _Cells[ModelName] = _Cells()
        self._tenants: _Cells[tuple[ModelName, str]] = _Cells()

    def bytes_per_token(self, model: ModelName, tenant: str) -> float:
        ratio = self._prior
        for cell in (self._models.get(model), self._tenants.get((model, tenant))):
            if cell is not None:
                ratio = cell.mean(ratio, _PRIOR_TOKENS)
        low, high = _RATIO_LIMITS
        return min(max(ratio, low), high)

    def estimate(self, model: ModelName, tenant: str, prompt_bytes: int) -> int:
        """Prompt tokens expected, at least 1."""
        return max(1, ceil(prompt_bytes / self.bytes_per_token(model, tenant)))

    def observe(
        self, model: ModelName, tenant: str, *, prompt_bytes: int, prompt_tokens: int
    ) -> None:
        """Learn from one engine-counted prompt; prompts without bytes or tokens say nothing."""
        if prompt_bytes <= 0 or prompt_tokens <= 0:
            return
        self._models.add(model, prompt_bytes, prompt_tokens)
        if tenant:
            self._tenants.add((model, tenant), prompt_bytes, prompt_tokens)


_Shape = tuple[ModelName, int, int]
_Levels = tuple[FadingQuotient, FadingQuotient, FadingQuotient]
_MOST_BITS = 32


class OutputLengths:
    """Expected output tokens by (tenant, model, max_tokens bucket, ISL bucket).

    Buckets are powers of two. Wider levels: without tenant, without ISL, the model alone,
    `prior_tokens`.
    """

    def __init__(self, prior_tokens: float) -> None:
        self._prior = prior_tokens
        self._models: dict[ModelName, FadingQuotient] = {}
        self._limits: dict[tuple[ModelName, int], FadingQuotient] = {}
        self._shapes: dict[_Shape, _Levels] = {}
        self._tenants: _Cells[tuple[_Shape, str]] = _Cells()

    def estimate(
        self, model: ModelName, tenant: str, *, isl_tokens: int, max_tokens: int | None
    ) -> int:
        """Mean output tokens of such requests, at least 1 and at most `max_tokens`."""
        shape = _shape(model, isl_tokens, max_tokens)
        mean = self._prior
        for level in self._shapes.get(shape) or self._levels(shape):
            mean = (level.amount + mean * _PRIOR_WEIGHT) / (level.count + _PRIOR_WEIGHT)
        if tenant:
            cell = self._tenants.get((shape, tenant))
            if cell is not None:
                mean = cell.mean(mean, _PRIOR_WEIGHT)
        tokens = round(mean) or 1
        return tokens if max_tokens is None or tokens <= max_tokens else max(1, max_tokens)

    def observe(
        self,
        model: ModelName,
        tenant: str,
        *,
        isl_tokens: int,
        max_tokens: int | None,
        osl_tokens: int,
    ) -> None:
        """Learn from one completed request."""
        tokens = float(max(0, osl_tokens))
        shape = _shape(model, isl_tokens, max_tokens)
        for level in self._shapes.get(shape) or self._levels(shape):
            level.add(tokens, 1.0)
        if tenant:
            self._tenants.add((shape, tenant), tokens, 1.0)

    def _levels(self, shape: _Shape) -> _Levels:
        """From the widest to the narrowest."""
        model, limit, _ = shape
        levels = self._shapes[shape] = (
            self._models.setdefault(model, FadingQuotient()),
            self._limits.setdefault((model, limit), FadingQuotient()),
            FadingQuotient(),
        )
        return levels


def _shape(model: ModelName, isl_tokens: int, max_tokens: int | None) -> _Shape:
    """Few enough to remember all, whatever clients ask for."""
    limit = -1 if max_tokens is None else min(max_tokens.bit_length(), _MOST_BITS)
    return model, limit, min(isl_tokens.bit_length(), _MOST_BITS)
