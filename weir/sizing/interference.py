"""Requests whose tokens come late since others' prompts are prefilled in between.

The mean gap between a request's tokens is late if and only if, in the time that its output may
take, more prefill comes than is left beside decoding. What comes is a sum of so many prompts
(compound Poisson), taken as gamma distributed, with the tail of Wilson and Hilferty ("The
distribution of chi-square", PNAS 17, 1931) less its term for skewness, so that it falls with
every target. Short outputs average over few prompts and are late first.
"""

import math
from dataclasses import dataclass

from weir.sizing.case import Case
from weir.sizing.queueing import sizes

__all__ = ["Interference"]


@dataclass(frozen=True, slots=True)
class Interference:
    """In engines whose iterations take `decode_s` by number of sequences, from 1.

    A prompt takes `prompt_s`.
    """

    case: Case
    decode_s: tuple[float, ...]
    prompt_s: float

    def late(self, rate_rps: float, sequences: float) -> float:
        """Share of requests at so many a second in a replica, in which as many sequences decode."""
        queue, itl_s = self.case.queue, self.case.slo.itl_s
        iteration_s = self._decode_s(sequences)
        left = itl_s - iteration_s / self.case.accept_length
        if iteration_s + self._most_s(sequences) <= itl_s * self.case.accept_length:
            return 0.0
        work = rate_rps * self.prompt_s
        # Routers give less to whoever is behind, the more so the more there are to choose from.
        spread = (queue.burstiness + queue.isl_spread) / math.sqrt(queue.replicas)
        ratio, prompts = left / (work * itl_s), self._prompts(rate_rps)
        return sum(
            share * _beyond(ratio, size * prompts, spread)
            for size, share in sizes(queue.osl_spread)
        )

    def _prompts(self, rate_rps: float) -> float:
        """That come while the mean output is written, if that takes as long as it may."""
        return rate_rps * self.case.slo.itl_s * self.case.osl_tokens

    def _most_s(self, sequences: float) -> float:
        """What an iteration spends on prompts at the most."""
        room = max(1, self.case.profile.max_batched_tokens - math.floor(sequences))
        profile = self.case.profile
        return profile.iteration_s(prefill_tokens=room, sequences=0, kv_used_tokens=0)

    def _decode_s(self, sequences: float) -> float:
        low = min(max(1, math.floor(sequences)), len(self.decode_s))
        below_s, above_s = self.decode_s[low - 1], self.decode_s[min(low, len(self.decode_s) - 1)]
        return below_s + (above_s - below_s) * max(0.0, min(1.0, sequences - low))


def _beyond(ratio: float, count: float, spread: float) -> float:
    """How likely a sum is more than `ratio` times its mean: `count` terms of this variance."""
    if ratio <= 0.0:
        return 1.0
    if spread <= 0.0:
        return 0.0 if ratio >= 1.0 else 1.0
    deviations = 3.0 * math.sqrt(count / spread) * (ratio ** (1.0 / 3.0) - 1.0)
    return 0.5 * math.erfc(deviations / math.sqrt(2.0))
