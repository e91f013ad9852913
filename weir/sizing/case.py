"""Requests of one class on one replica: what they need of it, and what they may miss."""

from dataclasses import dataclass
from functools import lru_cache

from weir.domain.fleet import Slo, Statistic
from weir.domain.profile import EngineProfile
from weir.sizing.queueing import Queue

__all__ = ["Case"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`prompt_tokens` of `isl_tokens` are not in the prefix cache."""

    profile: EngineProfile
    slo: Slo
    isl_tokens: int
    osl_tokens: int
    utilization: float
    queue: Queue
    prompt_tokens: int
    accept_length: float

    @property
    def of_mean(self) -> bool:
        """Whether it is the mean request that must be in time."""
        return self.slo.statistic is Statistic.MEAN

    @property
    def beyond(self) -> float:
        """The share of requests that may miss a target; of what is allowed that the mean takes."""
        return 1.0 if self.of_mean else max(1e-3, 1.0 - self.slo.percentile)

    @property
    def sequence_kv_tokens(self) -> int:
        """KV of a sequence in the middle of its output, in whole blocks."""
        block = self.profile.block_tokens
        return -(-(self.isl_tokens + self.osl_tokens // 2) // block) * block

    @property
    def max_batch(self) -> int:
        """Sequences that fit the KV space and the engine's limit."""
        return min(self.profile.max_sequences, self.profile.kv_tokens // self.sequence_kv_tokens)

    @property
    def transfer_s(self) -> float:
        """Seconds to pull the prompt's KV from a prefill to a decode replica."""
        return self.isl_tokens / (self.profile.kv_transfer_tokens_per_s * self.profile.speed)

    @property
    def reload_s(self) -> float:
        """Seconds to bring back what of the prompt is cached, but not in the KV space."""
        return self.profile.kv_reload_s(self.isl_tokens - self.prompt_tokens)

    @property
    def decode_times_s(self) -> tuple[float, ...]:
        """Seconds of an iteration in which 1, 2, ... `max_batch` sequences decode."""
        return _decode_times_s(self.profile, self.sequence_kv_tokens, self.max_batch)


@lru_cache(maxsize=64)
def _decode_times_s(profile: EngineProfile, kv_tokens: int, most: int) -> tuple[float, ...]:
    """Of 1, 2, ... `most` sequences, `kv_tokens` each; asked for again with other queues."""
    return tuple(
        profile.iteration_s(prefill_tokens=0, sequences=n, kv_used_tokens=n * kv_tokens)
        for n in range(1, most + 1)
    )
