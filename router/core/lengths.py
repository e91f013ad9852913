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


_Key = tuple[str | int, ...]


class OutputLengths:
    """Expected output tokens by (tenant, model, max_tokens bucket, ISL bucket).

    Buckets are powers of two. Wider levels: without tenant, without ISL, the model alone,
    `prior_tokens`.
    """

    def __init__(self, prior_tokens: float) -> None:
        self._prior = prior_tokens
        self._shapes: _Cells[_Key] = _Cells()
        self._tenants: _Cells[_Key] = _Cells()

    def estimate(
        self, model: ModelName, tenant: str, *, isl_tokens: int, max_tokens: int | None
    ) -> int:
        """Mean output tokens of such requests, at least 1 and at most `max_tokens`."""
        mean = self._prior
        shapes = _shapes(model, isl_tokens, max_tokens)
        for key in shapes:
            cell = self._shapes.get(key)
            if cell is not None:
                mean = cell.mean(mean, _PRIOR_WEIGHT)
        if tenant:
            cell = self._tenants.get((*shapes[-1], tenant))
            if cell is not None:
                mean = cell.mean(mean, _PRIOR_WEIGHT)
        tokens = max(1, round(mean))
        return tokens if max_tokens is None else max(1, min(tokens, max_tokens))

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
        shapes = _shapes(model, isl_tokens, max_tokens)
        for key in shapes:
            self._shapes.add(key, tokens, 1.0)
        if tenant:
            self._tenants.add((*shapes[-1], tenant), tokens, 1.0)


def _shapes(model: ModelName, isl_tokens: int, max_tokens: int | None) -> tuple[_Key, ...]:
    """Keys from the widest level to the narrowest."""
    limit = -1 if max_tokens is None else max_tokens.bit_length()
    return (model,), (model, limit), (model, limit, isl_tokens.bit_length())
