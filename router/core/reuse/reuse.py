"""Which of a pool's workers have computed the beginning of a prompt already, as far as one knows.

What was sent is taken to be there until its worker's KV space must have filled with other prompts.
Engines may know otherwise: what they report corrects how much is expected.

Where they tell of every block (KV events), a prompt whose tokens are known is looked up in what
they have told, and nothing is believed of it.
"""

from heapq import nlargest
from itertools import islice
from operator import itemgetter

from router.core.fading import FadingQuotient
from router.core.reuse.holdings import Cleared, Event, Holdings, Removed, TokenChain
from router.core.reuse.prefix import PrefixIndex
from router.core.reuse.sessions import Sessions
from router.core.reuse.ties import Ties
from router.core.workers.worker import Worker

__all__ = ["Reuse"]

_MOST_BLOCKS = 65_536
_MOST_LOOKED_AT = 8
"""Of those that hold something of a prompt, those that hold most."""
_PRIOR_TOKENS = 8192.0
"""Hits are believed in for so many tokens before anybody has told of any."""

_by_tokens = itemgetter(1)


class Reuse:
    """Of one pool whose engines keep prompts. All `tokens` are of prompts.

    `tells`: its engines' KV events are read.
    """

    def __init__(self, kv_tokens: int, *, tells: bool = False) -> None:
        self._kv_tokens = kv_tokens
        self._size_per_token = 1.0
        """Of the last prompt that was sent."""
        self.holdings: Holdings[Worker] | None = Holdings() if tells else None
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
        if self.holdings is not None and ties.tokens is not None:
            return self._told_candidates(self.holdings, ties, ties.tokens, isl_tokens, now_s)
        return self._believed_candidates(ties, isl_tokens, now_s)

    def _believed_candidates(self, ties: Ties, isl_tokens: int, now_s: float) -> dict[Worker, int]:
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

    def _told_candidates(
        self,
        holdings: Holdings[Worker],
        ties: Ties,
        prompt: TokenChain,
        isl_tokens: int,
        now_s: float,
    ) -> dict[Worker, int]:
        """What is believed counts only of those of which not everything is known."""
        found = {
            worker: tokens
            for worker, tokens in self._believed_candidates(ties, isl_tokens, now_s).items()
            if not holdings.complete(worker)
        }
        held = holdings.holders(prompt)
        for worker, tokens in nlargest(_MOST_LOOKED_AT, held.items(), key=_by_tokens):
            found[worker] = max(tokens, found.get(worker, 0))
        return found

    def is_exact(self, worker: Worker, ties: Ties) -> bool:
        """Whether what is expected of the prompt there is what the engine has told."""
        holdings = self.holdings
        return holdings is not None and ties.tokens is not None and holdings.complete(worker)

    def home(self, ties: Ties, now_s: float) -> Worker | None:
        """Where its session was last."""
        stay = self.sessions.find(ties.session, now_s) if ties.session else None
        return None if stay is None else stay.worker

    def cached_tokens(self, worker: Worker, ties: Ties, isl_tokens: int, now_s: float) -> int:
        """How much of the prompt is expected to be on this one."""
        if self.holdings is not None and ties.tokens is not None:
            told_tokens = self.holdings.tokens(worker, ties.tokens)
            if self.holdings.complete(worker):
                return told_tokens
            return max(told_tokens, self._believed_tokens(worker, ties, isl_tokens, now_s))
        return self._believed_tokens(worker, ties, isl_tokens, now_s)

    def _believed_tokens(self, worker: Worker, ties: Ties, isl_tokens: int, now_s: float) -> int:
        share = ties.share(self.index.depth(worker, ties.hashes)) if ties.hashes else 0.0
        tokens = share * isl_tokens
        if ties.session:
            stay = self.sessions.find(ties.session, now_s)
            if stay is not None and stay.worker is worker:
                tokens = max(tokens, stay.tokens)
        return self._believed(tokens, isl_tokens)

    def most_cached_tokens(self, ties: Ties, isl_tokens: int, now_s: float) -> int:
        """How much of the prompt is expected to be on the worker with most of it."""
        if self.holdings is not None and ties.tokens is not None:
            return max(self.candidates(ties, isl_tokens, now_s).values(), default=0)
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
            size_per_token = (ties.size + ties.before) / isl_tokens
            most = self._kv_tokens * size_per_token
            if self.holdings is not None:
                self._size_per_token = size_per_token
                most = self._room_tokens(self.holdings, worker, isl_tokens) * size_per_token
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
        if self.holdings is not None:
            self.holdings.forget(worker)

    # --- what engines tell of their own accord ----------------------------------------------

    def hear(self, worker: Worker, event: Event) -> None:
        """An event of the engine, in order. Only where they are read."""
        assert self.holdings is not None
        self.holdings.take(worker, event)
        if isinstance(event, Cleared):
            self.index.forget(worker)
            self.sessions.forget(worker)
        elif isinstance(event, Removed):
            room_tokens = self._room_tokens(self.holdings, worker, 0)
            if room_tokens < self._kv_tokens:
                self.index.bound(worker, room_tokens * self._size_per_token)

    def _room_tokens(self, holdings: Holdings[Worker], worker: Worker, new_tokens: int) -> int:
        """Prompts of more than so many tokens it cannot hold, `new_tokens` of them yet to come."""
        held_tokens = holdings.held_tokens(worker)
        if held_tokens is None:
            return self._kv_tokens
        return min(self._kv_tokens, held_tokens + worker.queued_tokens + new_tokens)

    def lose(self, worker: Worker) -> None:
        """An event has not been heard, or its engine began anew: nothing is certain of it."""
        self.forget(worker)
        self.sessions.forget(worker)
