"""What its planner knows of an engine: durations of forward passes and what follows from them.

The prior is the document's profile; what the engines really do takes over when five passes have
been seen. Its own prior is a simulator tuned online.
"""

import math

from weir.domain.fleet import PoolSpec, Role
from weir.domain.profile import EngineProfile
from weir.simulator.policies.dynamo.regression import Regression
from weir.simulator.policies.seen import ForwardPass

__all__ = ["EngineKnown"]

_CANDIDATES = 128


class EngineKnown:
    """One pool's engines. Lengths are means in tokens, times seconds."""

    def __init__(self, spec: PoolSpec, max_sequences: int) -> None:
        self.role: Role = spec.role
        self.max_sequences = max_sequences
        """Most that the engine is configured to run at once."""
        self._profile: EngineProfile = spec.profile
        tokens, kv_tokens = float(self._profile.max_batched_tokens), float(self._profile.kv_tokens)
        spans = {
            Role.PREFILL: (tokens,),
            Role.DECODE: (float(self._profile.max_sequences), kv_tokens),
            Role.AGG: (tokens, kv_tokens),
        }[self.role]
        self._regression = Regression(spans, work=0 if self.role is Role.PREFILL else 1)

    @property
    def kv_tokens(self) -> int:
        return self._profile.kv_tokens

    def saw(self, passed: ForwardPass) -> None:
        """A pass of one of the engines; those of another kind than the role's do not count."""
        features = self._features(passed.prefill_tokens, passed.sequences, passed.context_tokens)
        if any(features):
            self._regression.add(features, passed.duration_s)

    def pass_s(self, prefill_tokens: float, sequences: float, context_tokens: float) -> float:
        features = self._features(prefill_tokens, sequences, context_tokens)
        duration_s = self._regression.estimate_s(features)
        if duration_s is not None:
            return duration_s
        return self._profile.iteration_s(
            prefill_tokens=math.ceil(prefill_tokens),
            sequences=math.ceil(sequences),
            kv_used_tokens=math.ceil(context_tokens),
        )

    def ttft_s(self, queued_tokens: float, isl_tokens: float, context_tokens: float = 0.0) -> float:
        """Until a prompt that comes now behind the queue is prefilled, chunk by chunk."""
        chunk = self._profile.max_batched_tokens
        whole, rest = divmod(queued_tokens + isl_tokens, chunk)
        sequences = context_tokens and 1.0
        total_s = whole * self.pass_s(chunk, sequences, context_tokens) if whole else 0.0
        return total_s + self.pass_s(rest, sequences, context_tokens) if rest else total_s

    def capacity_rps(
        self, isl_tokens: float, osl_tokens: float, *, ttft_s: float, itl_s: float
    ) -> float:
        """Requests/s of one engine at the best batch that keeps the target, else at the best."""
        isl, osl = max(1, math.ceil(isl_tokens)), max(1, math.ceil(osl_tokens))
        if self.role is Role.PREFILL:
            rated = [self._prefilling(batch, isl, ttft_s) for batch in self._prefill_batches(isl)]
        else:
            batches = self._decode_batches(isl, osl)
            rated = [
                self._decoding(batch, isl, osl, itl_s)
                if self.role is Role.DECODE
                else self._doing_both(batch, isl, osl, ttft_s, itl_s)
                for batch in batches
            ]
        return max(rated)[1]

    def _prefilling(self, batch: int, isl: int, target_s: float) -> tuple[bool, float]:
        ttft_s = self.ttft_s(0.0, batch * isl)
        return ttft_s <= target_s, batch / ttft_s

    def _decoding(self, batch: int, isl: int, osl: int, target_s: float) -> tuple[bool, float]:
        itl_s = self.pass_s(0, batch, batch * (isl + osl // 2))
        return itl_s <= target_s, batch / (osl * itl_s)

    def _doing_both(
        self, batch: int, isl: int, osl: int, ttft_target_s: float, itl_target_s: float
    ) -> tuple[bool, float]:
        """A full batch needs as many prompt tokens in each iteration as its ends make room for."""
        context = batch * (isl + osl // 2)
        tokens = math.ceil(batch * isl / osl)
        itl_s = self.pass_s(tokens, batch, context)
        ttft_s = self.ttft_s(tokens, isl, context)
        room = tokens <= self._profile.max_batched_tokens - batch
        kept = room and itl_s <= itl_target_s and ttft_s <= ttft_target_s
        return kept, batch / (osl * itl_s) if room else 0.0

    def _prefill_batches(self, isl: int) -> list[int]:
        most = min(self._profile.max_sequences, self._profile.max_batched_tokens // isl)
        return _candidates(most)

    def _decode_batches(self, isl: int, osl: int) -> list[int]:
        return _candidates(min(self.max_sequences, self.kv_tokens // (isl + osl // 2)))

    def _features(
        self, prefill_tokens: float, sequences: float, context_tokens: float
    ) -> tuple[float, ...]:
        if self.role is Role.PREFILL:
            return (prefill_tokens,)
        if self.role is Role.DECODE:
            return (sequences, context_tokens)
        return (prefill_tokens, context_tokens)


def _candidates(most: int) -> list[int]:
    """Up to 128 batch sizes from 1 to `most`, evenly spread."""
    most = max(1, most)
    count = min(most, _CANDIDATES)
    return sorted({1 + (most - 1) * index // max(1, count - 1) for index in range(count)})
