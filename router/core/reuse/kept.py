"""What decode workers keep of the requests that they have served.

An engine that has decoded a request has its prompt in blocks that nobody runs on any more, whoever
computed them, and keeps these until it needs the space for what runs. So what is believed of a
worker shrinks as it fills, and begins with what has ended there.
"""

from math import inf

from router.core.reuse.reuse import Reuse
from router.core.reuse.ties import Ties
from router.core.workers.worker import Worker

__all__ = ["Kept"]

_TRUSTED = 0.875
"""With so much of what was expected confirmed, a prompt is taken to be there or not, as a whole."""
_DOUBT_HALF_LIFE_S = 60.0


class Kept(Reuse):
    """Of one decode pool. Sessions say nothing here: what matters is how little is not there."""

    def __init__(self, kv_tokens: int) -> None:
        super().__init__(kv_tokens)
        self._doubted_at_s = -inf

    def candidates(self, ties: Ties, isl_tokens: int, now_s: float) -> dict[Worker, int]:
        """Workers with something of the prompt, each if it still has the space for that."""
        self._doubt_less(now_s)
        found = super().candidates(ties, isl_tokens, now_s)
        for worker in found:
            if self.index.trim(worker, self._space(worker, ties, isl_tokens)):
                found[worker] = self.cached_tokens(worker, ties, isl_tokens, now_s)
        return found

    def sent(
        self, worker: Worker, ties: Ties, isl_tokens: int, cached_tokens: int, now_s: float
    ) -> None:
        """The prompt is to be computed there, where so much of it was expected."""
        self.prompt_tokens += isl_tokens
        self.expected_tokens += cached_tokens

    def decoded(self, worker: Worker, ties: Ties, isl_tokens: int) -> None:
        """A request has ended well there, and runs no more: its blocks are kept."""
        if ties.hashes:
            space = self._space(worker, ties, isl_tokens)
            self.index.insert(worker, ties.hashes, ties.ends, space)

    def _space(self, worker: Worker, ties: Ties, isl_tokens: int) -> float:
        """What it can keep beside what runs and is on its way, in the unit of the ties."""
        tokens = max(0, self._kv_tokens - worker.kv_tokens)
        return tokens * (ties.size + ties.before) / isl_tokens

    def _trust(self) -> float:
        """A long prompt of which a part is missing is none that a decode worker should compute."""
        trust = super()._trust()
        return 1.0 if trust >= _TRUSTED else trust

    def _doubt_less(self, now_s: float) -> None:
        """Who gets nothing any more because it disappointed is tried again some time."""
        age_s = now_s - self._doubted_at_s
        if age_s >= _DOUBT_HALF_LIFE_S:
            self._doubted_at_s = now_s
            keep = 0.5 ** (age_s / _DOUBT_HALF_LIFE_S)
            self._truth.fade(keep)
