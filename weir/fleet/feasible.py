"""What an idle fleet could do at best: which pools together can serve a request, how fast."""

from collections.abc import Iterator
from dataclasses import dataclass

from weir.domain.fleet import Fleet, PoolSpec, RequestClass, Role
from weir.domain.ids import ModelName

__all__ = ["Route", "idle_ttft_s", "longest_prompt_in_time", "routes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A pool for each stage; the same one twice if it is aggregated."""

    prefill: PoolSpec
    decode: PoolSpec

    def holds(self, isl_tokens: int, osl_tokens: int) -> bool:
        """Whether the request fits the context limits of both pools."""
        return isl_tokens <= self.longest_prompt(osl_tokens)

    def longest_prompt(self, osl_tokens: int) -> int:
        """ISL that fits together with this output; a prefill replica produces one token."""
        of_prefill = 1 if self.prefill.role is Role.PREFILL else osl_tokens
        return min(
            self.prefill.context_limit_tokens - of_prefill,
            self.decode.context_limit_tokens - osl_tokens,
        )

    def idle_ttft_s(self, isl_tokens: int) -> float:
        """Arrival to first token when both replicas are idle, without network or routing."""
        prefill_s = self.prefill.profile.idle_prefill_s(isl_tokens)
        if self.prefill.role is Role.AGG:
            return prefill_s
        return prefill_s + self._hand_over_s(isl_tokens)

    def idle_itl_s(self, isl_tokens: int) -> float:
        """Gap between tokens of a sequence that runs alone."""
        profile = self.decode.profile
        kv_tokens = min(isl_tokens, profile.kv_tokens)
        return profile.iteration_s(prefill_tokens=0, sequences=1, kv_used_tokens=kv_tokens)

    def _hand_over_s(self, isl_tokens: int) -> float:
        """KV transfer, then the decode replica's first iteration."""
        transfer_s = self.decode.profile.kv_transfer_s(isl_tokens)
        return transfer_s + self.idle_itl_s(isl_tokens)


def routes(fleet: Fleet, model: ModelName) -> Iterator[Route]:
    """Every way to serve `model` with pools that may run at all."""
    pools = [pool for pool in fleet.pools if pool.model == model and pool.max_replicas > 0]
    for prefill in pools:
        if prefill.role is Role.AGG:
            yield Route(prefill=prefill, decode=prefill)
        for decode in pools if prefill.role is Role.PREFILL else ():
            if decode.role is Role.DECODE and decode.dialect == prefill.dialect:
                yield Route(prefill=prefill, decode=decode)


def idle_ttft_s(fleet: Fleet, model: ModelName, isl_tokens: int, osl_tokens: int) -> float | None:
    """The best TTFT that the fleet has for this request while idle; None if no pool takes it.

    A request whose TTFT target is below this is infeasible, whatever the load.
    """
    return min(
        (
            route.idle_ttft_s(isl_tokens)
            for route in routes(fleet, model)
            if route.holds(isl_tokens, osl_tokens)
        ),
        default=None,
    )


def longest_prompt_in_time(fleet: Fleet, item: RequestClass) -> int:
    """Longest prompt of the class that some idle pools start within its TTFT target.

    It is taken with the class's shortest output; 0 if not even the shortest prompt is in time.
    """
    return max(
        (
            _longest_in_time(route, item)
            for model in fleet.models
            for route in routes(fleet, model.name)
        ),
        default=0,
    )


def _longest_in_time(route: Route, item: RequestClass) -> int:
    low = max(1, item.isl_tokens.low)
    high = route.longest_prompt(max(1, item.osl_tokens.low))
    if item.isl_tokens.high is not None:
        high = min(high, item.isl_tokens.high - 1)
    best = 0
    # idle_ttft_s grows with the prompt, so halving finds the last one in time
    while low <= high:
        middle = (low + high) // 2
        if route.idle_ttft_s(middle) <= item.slo.ttft_s:
            best, low = middle, middle + 1
        else:
            high = middle - 1
    return best
