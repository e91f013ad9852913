"""How long outputs will be, learned by (tenant, model, max_tokens bucket, ISL bucket).

Each group is blended with the next wider one: without tenant, without ISL, the model alone, at
last outputs of `prior_tokens`. Buckets are powers of two. A client's own word for the length takes
the place of `max_tokens` and ISL: it is believed until what such requests put out says otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from router.core.lengths.bounded import Bounded
from router.core.lengths.lifetable import Expected, LifeTable, Prior, bucket, middle
from weir.domain.ids import ModelName

__all__ = ["OutputErrors", "OutputLengths", "Shape", "shape_of"]

_MOST_BITS = 32
_UNLIMITED, _HINTED = -1, -2
_TENANT_MEMORY, _SHAPE_MEMORY, _MODEL_MEMORY = 256, 512, 1024

Shape = tuple[ModelName, int, int]
"""Model, bucket of `max_tokens`, bucket of ISL: few enough to remember all of them."""


def shape_of(
    model: ModelName, isl_tokens: int, max_tokens: int | None, hint_tokens: int | None = None
) -> Shape:
    """Lengths as the client wrote them, None where it wrote nothing."""
    if hint_tokens is not None:
        return model, _HINTED, bucket(hint_tokens)
    limit = _UNLIMITED if max_tokens is None else min(max_tokens.bit_length(), _MOST_BITS)
    return model, limit, min(isl_tokens.bit_length(), _MOST_BITS)


@dataclass(slots=True)
class OutputErrors:
    """Of one model's outputs against what was expected of them, since the start: for metrics.

    `expected_tokens` is the sum of the means. `within` were no longer than nine in ten should be,
    `above_median` longer than half should be.
    """

    outputs: int = 0
    tokens: int = 0
    expected_tokens: int = 0
    within: int = 0
    above_median: int = 0


class OutputLengths:
    def __init__(self, prior_tokens: float) -> None:
        self._prior = Prior.exponential(prior_tokens)
        self._models: dict[ModelName, LifeTable] = {}
        self._limits: dict[tuple[ModelName, int], LifeTable] = {}
        self._shapes: dict[Shape, LifeTable] = {}
        self._tenants: Bounded[tuple[Shape, str], LifeTable] = Bounded()
        self._errors: dict[ModelName, OutputErrors] = {}

    @property
    def errors(self) -> Mapping[ModelName, OutputErrors]:
        return self._errors

    def expect(self, shape: Shape, tenant: str, max_tokens: int | None) -> Expected:
        """At least 1 token and at most `max_tokens`."""
        table = self._tenants.get((shape, tenant)) if tenant else None
        if table is None:
            table = self._shapes.get(shape) or self._of_shape(shape)
        return table.expect().within(max_tokens)

    def ended(
        self,
        shape: Shape,
        tenant: str,
        osl_tokens: int,
        passed: int = 0,
        expected: Expected | None = None,
    ) -> None:
        """Learn from a completed request; `passed` is what `has_passed` said of it last.

        `expected`: what `expect` said of it when it came.
        """
        if expected is not None:
            self._count(shape[0], osl_tokens, expected)
        narrowest = self._table(shape, tenant)
        index = bucket(osl_tokens)
        table: LifeTable | Prior = narrowest
        while isinstance(table, LifeTable):
            table.ended(osl_tokens, index, passed)
            table = table.within
        narrowest.freshen()

    def has_passed(self, shape: Shape, tenant: str, so_far_tokens: float, passed: int = 0) -> int:
        """Learn from a request that has put out so much and did not end there.

        Returns what to give as `passed` next time.
        """
        index = bucket(so_far_tokens)
        if index <= passed:
            return passed
        table: LifeTable | Prior = self._table(shape, tenant)
        while isinstance(table, LifeTable):
            table.has_passed(passed, index)
            table = table.within
        return index

    def _count(self, model: ModelName, osl_tokens: int, expected: Expected) -> None:
        errors = self._errors.get(model)
        if errors is None:
            errors = self._errors[model] = OutputErrors()
        errors.outputs += 1
        errors.tokens += osl_tokens
        errors.expected_tokens += expected.mean_tokens
        if osl_tokens <= expected.most_tokens:
            errors.within += 1
        if osl_tokens > expected.typical_tokens:
            errors.above_median += 1

    def _table(self, shape: Shape, tenant: str) -> LifeTable:
        of_shape = self._shapes.get(shape) or self._of_shape(shape)
        if not tenant:
            return of_shape
        key = (shape, tenant)
        known = self._tenants.get(key)
        if known is None:
            return self._tenants.put(key, LifeTable(of_shape, _TENANT_MEMORY))
        known.used = True
        return known

    def _of_shape(self, shape: Shape) -> LifeTable:
        made = self._shapes[shape] = LifeTable(self._around(shape), _SHAPE_MEMORY)
        return made

    def _around(self, shape: Shape) -> LifeTable | Prior:
        """What a shape's outputs are like as long as it is not known itself."""
        model, limit, index = shape
        if limit == _HINTED:
            return Prior.around(middle(index))
        of_limit = self._limits.get((model, limit))
        if of_limit is None:
            of_model = self._models.get(model)
            if of_model is None:
                of_model = self._models[model] = LifeTable(self._prior, _MODEL_MEMORY)
            of_limit = self._limits[model, limit] = LifeTable(of_model, _MODEL_MEMORY)
        return of_limit
