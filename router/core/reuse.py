"""Which of a pool's workers have computed the beginning of a prompt already, as far as one knows.

What was sent is taken to be there until its worker's KV space must have filled with other prompts.
Engines may know otherwise: what they report corrects how much is expected.
"""

from itertools import islice

from router.core.fading import FadingQuotient
from router.core.prefix import PrefixIndex
from router.core.sessions import Sessions
from router.core.ties import Ties
from router.core.workers import Worker

__all__ = ["Reuse"]

_MOST_BLOCKS = 65_536
_MOST_LOOKED_AT = 8
"""Of those that hold something of a prompt, those that hold most."""
_PRIOR_TOKENS = 8192.0
"""Hits are believed in for so many tokens before anybody has told of any."""


class Reuse:
    """Of one pool whose engines keep prompts. All `tokens` are of prompts."""

    def __init__(self, kv_tokens: int) -> None:
        self._kv_tokens = kv_tokens
        self.index: PrefixIndex[Worker] = PrefixIndex(_MOST_BLOCKS)
        self.sessions = Sessions()
        self._truth = FadingQuotient()
        self._tells = False
        self.prompt_tokens = 0
        """Of requests that had anything to be known by."""
        self.expected_tokens = 0
        """Of those, what was expected to be there already."""
        self.told_tokens = 0
        """What engines said was there already, also where nothing was expected."""
        self.asked_tokens = 0
        """Prompts of the requests of which engines have said so."""

    # --- before a request is sent -----------------------------------------------------------

    def candidates(self, ties: Ties, isl_tokens: int, now_s: float) -> dict[Worker, int]:
        """Workers with something of the prompt, and how much; those with most, not all."""
        found: dict[Worker, int] = {}
        hashes = ties.hashes
        if hashes:
            depth = tokens = 0
            for worker, blocks in islice(self.index.best(hashes), _MOST_LOOKED_AT):
                if blocks != depth:
                    depth = blocks
                    tokens = self._believed(ties.share(blocks) * isl_tokens, isl_tokens)
                found[worker] = tokens
        if ties.session:
            stay = self.sessions.find(ties.session, now_s)
            if stay is not None:
                tokens = self._believed(stay.tokens, isl_tokens)
                found[stay.worker] = max(tokens, found.get(stay.worker, 0))
        return found

    def home(self, ties: Ties, now_s: float) -> Worker | None:
        """Where its session was last."""
        stay = self.sessions.find(ties.session, now_s) if ties.session else None
        return None if stay is None else stay.worker

    def cached_tokens(self, worker: Worker, ties: Ties, isl_tokens: int, now_s: float) -> int:
        """How much of the prompt is expected to be on this one."""
        share = ties.share(self.index.depth(worker, ties.hashes)) if ties.hashes else 0.0
        tokens = share * isl_tokens
        if ties.session:
            stay = self.sessions.find(ties.session, now_s)
            if stay is not None and stay.worker is worker:
                tokens = max(tokens, stay.tokens)
        return self._believed(tokens, isl_tokens)

    def most_cached_tokens(self, ties: Ties, isl_tokens: int, now_s: float) -> int:
        """How much of the prompt is expected to be on the worker with most of it."""
        tokens = ties.share(self.index.best_depth(ties.hashes)) * isl_tokens
        stay = self.sessions.find(ties.session, now_s) if ties.session else None
        if stay is not None and stay.tokens > tokens:
            tokens = float(stay.tokens)
        return self._believed(tokens, isl_tokens)

    def _believed(self, tokens: float, isl_tokens: int) -> int:
        """An engine computes at least one token of every prompt."""
        believed = int(tokens * self._trust())
        return believed if believed < isl_tokens else isl_tokens - 1

    def _trust(self) -> float:
        """How much of what was sent there is expected to be there."""
        return self._truth.mean(1.0, _PRIOR_TOKENS)

    # --- then -------------------------------------------------------------------------------

    def sent(
        self, worker: Worker, ties: Ties, isl_tokens: int, cached_tokens: int, now_s: float
    ) -> None:
        """The prompt goes there, where so much of it was expected."""
        self.prompt_tokens += isl_tokens
        self.expected_tokens += cached_tokens
        if ties.hashes:
            most = self._kv_tokens * (ties.size + ties.before) / isl_tokens
            self.index.insert(worker, ties.hashes, ties.ends, most)
        if ties.session:
            self.sessions.sent(ties.session, worker, isl_tokens, now_s)

    def told(self, isl_tokens: int, expected_tokens: int, cached_tokens: int) -> bool:
        """The engine says how much was there; False if that may be mere silence.

        Engines say nothing where it was nothing, and some never do.
        """
        self._tells = self._tells or cached_tokens > 0
        if not self._tells:
            return False
        self.asked_tokens += isl_tokens
        self.told_tokens += cached_tokens
        if expected_tokens:
            inserted_tokens = expected_tokens / self._trust()
            self._truth.add(min(cached_tokens, inserted_tokens), inserted_tokens)
        return True

    def forget(self, worker: Worker) -> None:
        """It has gone, or started anew."""
        self.index.forget(worker)
