"""Size a request up: model, lengths, class and targets; refuse what no pool can hold.

Its class is that of the median output, which is right more often than the mean's, for a few long
outputs make a mean long. Work and KV add up over requests, so there the mean counts.

An ISL that is an estimate may be wrong by `_DOUBT`. A request is refused only if it would
be too long even then; if in doubt, the engine with the exact count decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from router.core.hints import ASK_FOR_LESS, HintRules
from router.core.lengths.lifetable import Expected
from router.core.lengths.outputs import OutputLengths, Shape, shape_of
from router.core.lengths.prompts import PromptLengths
from router.core.pools import ModelPools, Pools
from router.core.request import RequestProfile
from router.core.reuse.ties import Ties
from weir.domain.classify import classify
from weir.domain.errors import RequestError
from weir.domain.fleet import PoolSpec, RequestClass, Role, Slo
from weir.domain.ids import ClassName, PoolId
from weir.domain.overrides import ClassTargets, effective_classes

__all__ = ["Admission", "Sized", "all_of", "pools_too_short"]

_DOUBT = 0.75
_NONE: frozenset[PoolId] = frozenset()


@dataclass(slots=True)
class Sized:
    """A request ready to be placed.

    `kv_tokens` is the KV that such a request holds on average while it decodes. `kv_spread` is
    the square of how much more it holds when nine in ten have ended. `shape` is what its output is
    expected and learned by. It does not fit into the context of the pools in `too_short`, or a
    grid leaves them out.
    """

    model: ModelPools
    request_class: RequestClass
    isl_tokens: int
    osl_tokens: int
    kv_tokens: int
    kv_spread: int
    output: Expected
    shape: Shape
    ttft_s: float
    itl_s: float
    too_short: frozenset[PoolId]
    ties: Ties | None = None


class Admission:
    def __init__(
        self,
        pools: Pools,
        classes: Sequence[RequestClass],
        prompts: PromptLengths,
        outputs: OutputLengths,
        rules: HintRules = ASK_FOR_LESS,
    ) -> None:
        self._pools = pools
        self._rules = rules
        self._document = tuple(classes)
        self.classes = self._document
        """In the document's order, with what they are to meet now."""
        self.prompts = prompts
        self.outputs = outputs
        borders = {border for c in classes for border in (c.isl_tokens.low, c.isl_tokens.high)}
        self._isl_borders: tuple[float, ...] = tuple(border for border in borders if border)

    def follow(self, targets: Mapping[ClassName, ClassTargets]) -> bool:
        """What classes are to meet from now on; False if that is what they were to meet."""
        classes = effective_classes(self._document, targets)
        changed = classes != self.classes
        self.classes = classes
        return changed

    def size(self, profile: RequestProfile, *, any_length: bool = False) -> Sized:
        """Raises `RequestError`: 404 model_not_found, 400 context_length_exceeded.

        `any_length`: as if all pools were too short, without the latter.
        """
        model = self._pools.model(profile.model)
        isl = profile.isl_tokens if profile.isl_tokens > 0 else 1
        max_tokens, hint = profile.max_tokens, profile.osl_hint_tokens
        shape = shape_of(model.name, isl, max_tokens, hint)
        most_tokens = max_tokens if hint is None else _most_tokens(model, isl, max_tokens)
        output = self.outputs.expect(shape, profile.tenant, most_tokens)
        osl = output.mean_tokens
        request_class = classify(self.classes, isl, output.typical_tokens, profile)
        if profile.asked_class:
            asked = self._asked_for(profile, isl, output.typical_tokens)
            request_class = asked or request_class
        ttft_s, itl_s = self._targets(request_class.slo, profile)
        spread = output.most_tokens - output.held_tokens
        return Sized(
            model,
            request_class,
            isl,
            osl,
            isl + output.held_tokens,
            spread * spread,
            output,
            shape,
            ttft_s,
            itl_s,
            all_of(model) if any_length else pools_too_short(model, profile, isl, osl),
            profile.ties,
        )

    def near_border(self, profile: RequestProfile) -> bool:
        """Whether an error of the estimated ISL may change its class, or the pools it fits into.

        Raises `RequestError` if no pool serves the model.
        """
        model = self._pools.model(profile.model)
        doubt = profile.isl_tokens * self.prompts.doubt(model.name, profile.tenant)
        low, high = profile.isl_tokens - doubt, profile.isl_tokens + doubt
        output = profile.max_tokens or 0
        contexts = (pool.spec.context_limit_tokens - output for pool in model.pools)
        return any(low < border <= high for border in (*self._isl_borders, *contexts))

    def resize(self, sized: Sized, profile: RequestProfile) -> Sized:
        """The same, with what its class is to meet now."""
        name = sized.request_class.name
        request_class = next(c for c in self.classes if c.name == name)
        ttft_s, itl_s = self._targets(request_class.slo, profile)
        return replace(sized, request_class=request_class, ttft_s=ttft_s, itl_s=itl_s)

    def priority(self, sized: Sized, profile: RequestProfile) -> int:
        """Whose is higher goes first: that of its class, as far as it may ask for another."""
        later = profile.priority if profile.tier is None else -profile.tier
        return self._rules.priority(sized.request_class.priority, later)

    def denied(self, sized: Sized, profile: RequestProfile) -> tuple[str, ...]:
        """Fields of the profile that ask for more than it may have."""
        slo, asked_class = sized.request_class.slo, profile.asked_class
        ttft_s, itl_s = self._targets(slo, profile)
        usual, priority = sized.request_class.priority, self.priority(sized, profile)
        asked = {
            "ttft_s": profile.ttft_s is not None and profile.ttft_s < ttft_s,
            "itl_s": profile.itl_s is not None and profile.itl_s < itl_s,
            "priority": profile.tier is None and usual - (profile.priority or 0) > priority,
            "tier": usual + (profile.tier or 0) > priority,
            "asked_class": bool(asked_class) and asked_class != sized.request_class.name,
        }
        return tuple(name for name, denied in asked.items() if denied)

    def _targets(self, slo: Slo, profile: RequestProfile) -> tuple[float, float]:
        """TTFT and ITL: what its class is to meet, as far as it may not ask for another."""
        asked_ttft_s, asked_itl_s, rules = profile.ttft_s, profile.itl_s, self._rules
        return (
            slo.ttft_s if asked_ttft_s is None else rules.target_s(asked_ttft_s, slo.ttft_s),
            slo.itl_s if asked_itl_s is None else rules.target_s(asked_itl_s, slo.itl_s),
        )

    def _asked_for(self, profile: RequestProfile, isl: int, osl: int) -> RequestClass | None:
        """The class it names, if that is on request, and its ranges and rule hold the request."""
        for each in self.classes:
            if each.name == profile.asked_class and each.on_request:
                holds = each.isl_tokens.holds(isl) and each.osl_tokens.holds(osl)
                allowed = each.rule is None or each.rule.holds(profile)
                return each if holds and allowed else None
        return None


def _most_tokens(model: ModelPools, isl: int, max_tokens: int | None) -> int:
    """Of output: what is asked for, or what the longest context leaves for it."""
    left = max(1, model.longest_context - isl)
    return left if max_tokens is None else min(left, max_tokens)


def all_of(model: ModelPools) -> frozenset[PoolId]:
    return frozenset(pool.id for pool in model.pools)


def pools_too_short(
    model: ModelPools, profile: RequestProfile, isl: int, osl: int
) -> frozenset[PoolId]:
    """Pools that cannot hold the request as estimated, else those that cannot for sure.

    Raises `RequestError` if the others cannot serve it.
    """
    limit = profile.max_tokens
    expected = isl + (osl if limit is None else limit)
    if expected <= model.shortest_context:
        return _NONE
    too_short = _shorter(model, isl, expected)
    if not model.serves_without(too_short):
        least_isl = isl if profile.isl_exact else int(isl * _DOUBT)
        too_short = _shorter(model, least_isl, least_isl + (1 if limit is None else limit))
        if not model.serves_without(too_short):
            raise _too_long(model, profile, isl)
    return too_short


def _shorter(model: ModelPools, isl: int, total: int) -> frozenset[PoolId]:
    """Pools whose context is too short for a prompt of `isl` and `total` tokens in all."""

    def holds(spec: PoolSpec) -> bool:
        tokens = isl + 1 if spec.role is Role.PREFILL else total
        return tokens <= spec.context_limit_tokens

    return frozenset(p.id for p in model.pools if not holds(p.spec))


def _too_long(model: ModelPools, profile: RequestProfile, isl: int) -> RequestError:
    longest = max(p.spec.context_limit_tokens for p in model.pools)
    about = "" if profile.isl_exact else "about "
    output = "" if profile.max_tokens is None else f" and {profile.max_tokens} of output"
    return RequestError(
        f"the maximum context length of {model.name} is {longest} tokens, this request asks for"
        f" {about}{isl} of prompt{output}; shorten the prompt or lower max_tokens",
        status=400,
        code="context_length_exceeded",
        param="messages",
    )
