"""KV space for sequences: who could ever get it, who gets it now, and what is given back."""

from weir.domain.profile import EngineProfile
from weir.engine.kv import KvCache
from weir.engine.request import Refusal, Request, Sequence, SequenceState

__all__ = ["Placing"]

_PREFILLING = SequenceState.PREFILLING


class Placing:
    """`most_tokens`: the most tokens (prompt + output - 1) a sequence can have."""

    __slots__ = (
        "_block_tokens",
        "_chunked",
        "_max_batched_tokens",
        "_prefix_caching",
        "kv",
        "most_tokens",
        "prefix_hit_tokens",
        "prefix_queried_tokens",
    )

    def __init__(self, profile: EngineProfile) -> None:
        self.kv = KvCache(profile.kv_blocks)
        self.most_tokens = profile.kv_blocks * profile.block_tokens
        self.prefix_queried_tokens = 0
        self.prefix_hit_tokens = 0
        self._block_tokens = profile.block_tokens
        self._chunked = profile.chunked_prefill
        self._max_batched_tokens = profile.max_batched_tokens
        self._prefix_caching = profile.prefix_caching

    def refusal(self, request: Request) -> Refusal | None:
        """Why the request could never run here; None if it could."""
        prompt, most = request.prompt_tokens, self._max_batched_tokens
        if prompt > most and not (self._chunked or request.prefilled):
            return Refusal(needed_tokens=prompt, limit_tokens=most)
        needed = prompt + request.output_tokens - 1
        if needed > self.most_tokens:
            return Refusal(needed_tokens=needed, limit_tokens=self.most_tokens)
        return None

    def hashes(self, request: Request) -> tuple[int, ...]:
        """Those of its full blocks that the prefix cache may know."""
        if not (request.block_hashes and self._prefix_caching):
            return ()
        return request.block_hashes[: request.prompt_tokens // self._block_tokens]

    def place(self, sequence: Sequence, budget: int, alone: bool) -> bool:
        """Take blocks for all tokens of a waiting sequence; False if it has to wait on.

        Without chunked prefill a preempted one may have grown longer than any budget. It goes
        when no other is prefilled in the iteration (`alone`).
        """
        if not (self._chunked or sequence.prefilled) and self._too_long(sequence, budget, alone):
            return False
        blocks = -(-sequence.tokens // self._block_tokens)
        hits = self.kv.acquire(sequence.hashes, blocks) if sequence.hashes else 0
        if hits is None or not (sequence.hashes or self.kv.take(blocks)):
            return False
        sequence.blocks = blocks
        sequence.state = _PREFILLING
        if not sequence.prefilled:
            self._reuse(sequence, hits)
        return True

    def free(self, sequence: Sequence) -> None:
        """Give back its blocks; computed prompt blocks stay in the cache."""
        if sequence.hashes:
            computed_blocks = sequence.computed // self._block_tokens
            self.kv.release(sequence.hashes, sequence.blocks, computed_blocks)
        else:
            self.kv.give(sequence.blocks)

    def _too_long(self, sequence: Sequence, budget: int, alone: bool) -> bool:
        hits = self.kv.resident(sequence.hashes)
        new_tokens = sequence.tokens - self._reused_tokens(sequence, hits)
        return new_tokens > budget and not (alone and new_tokens > self._max_batched_tokens)

    def _reuse(self, sequence: Sequence, hits: int) -> None:
        """Count what was found in the cache as computed."""
        sequence.computed = reused_tokens = self._reused_tokens(sequence, hits) if hits else 0
        if not sequence.preemptions:
            sequence.cached_tokens = reused_tokens
            if self._prefix_caching:
                self.prefix_queried_tokens += sequence.tokens
                self.prefix_hit_tokens += reused_tokens

    def _reused_tokens(self, sequence: Sequence, hits: int) -> int:
        """Tokens found in whole blocks of the cache; at least one is always computed anew."""
        block_tokens = self._block_tokens
        return min(hits, (sequence.tokens - 1) // block_tokens) * block_tokens
