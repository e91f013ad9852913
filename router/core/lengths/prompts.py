"""How many tokens a prompt is, from its bytes: learned from what engines count.

A prompt is the bytes that a client wrote, over a ratio, and what the model's template adds to them.
The template is the model's, the ratio the tenant's as well: languages and code differ. Each blends
from wide to narrow, a model's as so many tokens of a tenant's, and lets older prompts fade.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from router.core.fading import FadingQuotient
from router.core.lengths.bounded import Bounded
from weir.domain.ids import ModelName

__all__ = ["PromptErrors", "PromptLengths"]

_PRIOR_TOKENS = 1024.0
_RATIO_LIMITS = (0.05, 64.0)
_MOST_TEMPLATE_TOKENS = 256.0
_KEEP = 1.0 - 1.0 / 1024
_PRIOR_SHORTNESS = 0.01
"""The template is taken to add nothing until some prompts have shown what it adds."""
_PRIOR_ERROR, _PRIOR_ERRORS = 0.25, 4.0
_MOST_ERROR = 1.0
_BAND = 2.5
"""Nine errors in ten are below so many mean ones."""


@dataclass(slots=True)
class PromptErrors:
    """Of one model's estimates, since the start: for metrics.

    `too_many` and `too_few` are the sums of the tokens that they were wrong by.
    """

    prompts: int = 0
    tokens: int = 0
    too_many: int = 0
    too_few: int = 0


class _Template:
    """Tokens of one model's prompts as a line over their bytes, which starts at the template's.

    Relative errors are to be small, so that a prompt's weight falls with its length.
    """

    __slots__ = ("_bytes", "_count", "_shortness", "_tokens", "_tokens_per_byte", "tokens")

    def __init__(self) -> None:
        self._count = self._bytes = self._tokens = self._tokens_per_byte = 0.0
        self._shortness = _PRIOR_SHORTNESS
        self.tokens = 0.0

    def add(self, prompt_bytes: int, prompt_tokens: int) -> None:
        self._count = self._count * _KEEP + 1.0
        self._bytes = self._bytes * _KEEP + prompt_bytes
        self._tokens = self._tokens * _KEEP + prompt_tokens
        self._tokens_per_byte = self._tokens_per_byte * _KEEP + prompt_tokens / prompt_bytes
        fading = (self._shortness - _PRIOR_SHORTNESS) * _KEEP
        self._shortness = fading + 1.0 / prompt_bytes + _PRIOR_SHORTNESS
        spread = self._shortness * self._bytes - self._count * self._count
        start = (self._tokens_per_byte * self._bytes - self._count * self._tokens) / spread
        self.tokens = min(max(0.0, start), _MOST_TEMPLATE_TOKENS)


class _Ratio:
    """Of one tenant's prompts, or all of a model's."""

    __slots__ = ("bytes", "error", "used")

    def __init__(self) -> None:
        self.bytes = FadingQuotient()
        self.error = FadingQuotient()
        self.used = False

    def add(self, prompt_bytes: int, tokens: float, error: float | None) -> None:
        self.bytes.add(prompt_bytes, tokens)
        if error is not None:
            self.error.add(error, 1.0)


class PromptLengths:
    """`bytes_per_token` holds until something is learned."""

    def __init__(self, bytes_per_token: float) -> None:
        self._prior = bytes_per_token
        self._templates: dict[ModelName, _Template] = {}
        self._models: dict[ModelName, _Ratio] = {}
        self._tenants: Bounded[tuple[ModelName, str], _Ratio] = Bounded()
        self._errors: dict[ModelName, PromptErrors] = {}

    @property
    def errors(self) -> Mapping[ModelName, PromptErrors]:
        return self._errors

    def bytes_per_token(self, model: ModelName, tenant: str) -> float:
        """Without the template."""
        ratio = self._prior
        known = self._models.get(model)
        if known is not None:
            ratio = known.bytes.mean(ratio, _PRIOR_TOKENS)
        of_tenant = self._tenants.get((model, tenant)) if tenant else None
        if of_tenant is not None:
            ratio = of_tenant.bytes.mean(ratio, _PRIOR_TOKENS)
        low, high = _RATIO_LIMITS
        return low if ratio < low else high if ratio > high else ratio

    def template_tokens(self, model: ModelName) -> float:
        """What the model's template adds to a prompt."""
        template = self._templates.get(model)
        return 0.0 if template is None else template.tokens

    def estimate(self, model: ModelName, tenant: str, prompt_bytes: int) -> int:
        """Prompt tokens expected, at least 1."""
        template = self._templates.get(model)
        tokens = prompt_bytes / self.bytes_per_token(model, tenant)
        if template is not None:
            tokens += template.tokens
        return ceil(tokens) or 1

    def relative_error(self, model: ModelName, tenant: str) -> float:
        """By what share estimates are wrong: on average."""
        error = _PRIOR_ERROR
        for known in (self._models.get(model), self._tenants.get((model, tenant))):
            if known is not None:
                error = known.error.mean(error, _PRIOR_ERRORS)
        return error

    def doubt(self, model: ModelName, tenant: str) -> float:
        """By what share nine estimates in ten are wrong at most."""
        return _BAND * self.relative_error(model, tenant)

    def observe(
        self,
        model: ModelName,
        tenant: str,
        *,
        prompt_bytes: int,
        prompt_tokens: int,
        estimated_tokens: int | None = None,
    ) -> None:
        """Learn from one engine-counted prompt; prompts without bytes or tokens say nothing.

        `estimated_tokens`: what `estimate` said of it, None if it was counted instead.
        """
        if prompt_bytes <= 0 or prompt_tokens <= 0:
            return
        template = self._templates.get(model)
        if template is None:
            template = self._templates[model] = _Template()
            self._models[model] = _Ratio()
        template.add(prompt_bytes, prompt_tokens)
        error = None
        if estimated_tokens is not None:
            self._count(model, prompt_tokens, estimated_tokens)
            error = min(_MOST_ERROR, abs(estimated_tokens - prompt_tokens) / prompt_tokens)
        written = max(1.0, prompt_tokens - template.tokens)
        self._models[model].add(prompt_bytes, written, error)
        if tenant:
            key = (model, tenant)
            known = self._tenants.get(key)
            if known is None:
                known = self._tenants.put(key, _Ratio())
            else:
                known.used = True
            known.add(prompt_bytes, written, error)

    def _count(self, model: ModelName, prompt_tokens: int, estimated_tokens: int) -> None:
        errors = self._errors.get(model)
        if errors is None:
            errors = self._errors[model] = PromptErrors()
        excess = estimated_tokens - prompt_tokens
        errors.prompts += 1
        errors.tokens += prompt_tokens
        if excess > 0:
            errors.too_many += excess
        else:
            errors.too_few -= excess
