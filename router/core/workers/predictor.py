"""What a pool's engine profile predicts, in the form in which decisions ask for it."""

from functools import lru_cache

from weir.domain.profile import EngineProfile

__all__ = ["Predictor"]

_TYPICAL_SEQUENCE_TOKENS = 2048
_LENGTHS = 4096
"""Prompt lengths whose prefill time is remembered: each is asked for several times a request."""


class Predictor:
    """Seconds on an engine as fast as its profile, and how much keeps one busy.

    An iteration that only decodes is taken to last `no_sequence_s`, `per_sequence_s` longer for
    each sequence and `per_kv_token_s` for each token of KV: good for telling which is longer.
    """

    def __init__(self, profile: EngineProfile) -> None:
        self._profile = profile
        self._follows_kv = profile.timing.decode_follows_kv
        self._by_sequences: dict[int, float] = {}
        self.max_sequences = profile.max_sequences
        self._kv_tokens = profile.kv_tokens
        self.batch_tokens = profile.max_batched_tokens
        self.batch_s = profile.iteration_s(
            prefill_tokens=self.batch_tokens, sequences=0, kv_used_tokens=0
        )
        self.most_kv_tokens = self._kv_tokens
        alone_s = self.decode_s(1, 0)
        self.per_sequence_s = 0.0
        if self.max_sequences > 1:
            full_s = self.decode_s(self.max_sequences, 0)
            self.per_sequence_s = (full_s - alone_s) / (self.max_sequences - 1)
        self.per_kv_token_s = (self.decode_s(1, self._kv_tokens) - alone_s) / self._kv_tokens
        self.no_sequence_s = alone_s - self.per_sequence_s
        self.transfer_s = profile.kv_transfer_s
        self.prefill_s = lru_cache(_LENGTHS)(profile.idle_prefill_s)

    def decode_s(self, sequences: int, kv_tokens: int) -> float:
        """One iteration in which as many of these as fit decode."""
        if sequences > self.max_sequences:
            sequences = self.max_sequences
        if self._follows_kv:
            return self._profile.decode_only_s(sequences, kv_tokens)
        known_s = self._by_sequences.get(sequences)
        if known_s is None:
            known_s = self._profile.decode_only_s(sequences, 0)
            self._by_sequences[sequences] = known_s
        return known_s

    @property
    def prefill_rate(self) -> float:
        """Prompt tokens per second."""
        return self.batch_tokens / self.batch_s

    @property
    def decode_rate(self) -> float:
        """Output tokens per second, with sequences of a typical length."""
        fitting = max(1, self._kv_tokens // _TYPICAL_SEQUENCE_TOKENS)
        sequences = min(self.max_sequences, fitting)
        return sequences / self.decode_s(sequences, sequences * _TYPICAL_SEQUENCE_TOKENS)
