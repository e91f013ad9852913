"""What one leg of a request holds on one worker, and what its course tells of the worker."""

from typing import TYPE_CHECKING

from router.core.workers.worker import Worker

if TYPE_CHECKING:
    from router.core.pool import Pool

__all__ = ["Charge"]

_TELLING_TOKENS = 32.0
"""A leg with so many gaps between its tokens tells as much as one can."""


class Charge:
    """On the worker from its making to `release`. A call out of turn changes nothing.

    `reserved_s`: since when it is held for a prompt that is prefilled elsewhere.

    `direct` is set, before all calls, for a leg whose prompt a decode worker computes itself.

    In turn: `depart` once the leg is sent, `first_token` if it is seen, `completed` if the leg
    ends well, `release`. A prefill leg has only `depart` and `prefilled`, or `release`.
    """

    __slots__ = (
        "_decoding",
        "_departed",
        "_isl_tokens",
        "_kv_spread",
        "_kv_tokens",
        "_live",
        "_new_tokens",
        "_probe",
        "_prompts_s",
        "_queued_tokens",
        "_reserved_s",
        "_since_s",
        "_steps",
        "_worker",
        "direct",
        "pool",
        "sent_s",
    )

    def __init__(
        self,
        pool: "Pool",
        worker: Worker,
        kv_tokens: int,
        kv_spread: int = 0,
        reserved_s: float | None = None,
    ) -> None:
        self.pool = pool
        self.direct = False
        self._reserved_s = reserved_s
        self._worker = worker
        self._kv_tokens = kv_tokens
        self._kv_spread = kv_spread
        self._queued_tokens = 0
        self._live = True
        self._departed = False
        self._decoding = False
        worker.kv_tokens += kv_tokens
        worker.kv_spread += kv_spread
        worker.in_flight += 1
        worker.served += 1
        self._probe = worker.failures > 0
        if self._probe:
            worker.probing = True
            pool.touch(worker)
        if not worker.stale:
            pool.reload(worker)

    def depart(
        self,
        isl_tokens: int,
        now_s: float,
        *,
        streamed: bool = True,
        hopeless: bool = False,
        cached_tokens: int = 0,
    ) -> None:
        """The leg is sent: its prompt joins the worker's queue. `hopeless`: it cannot be in time.

        What is expected to be cached there is no work, and does not queue. Without streaming
        nobody sees when its prompt has been prefilled, so none of it counts as queued and it is
        taken to decode at once; the KV it holds counts all the same.
        """
        if not self._live or self._departed:
            return
        self._departed = True
        self._isl_tokens = isl_tokens
        self._new_tokens = new_tokens = isl_tokens - cached_tokens
        self.sent_s = now_s
        pool, worker = self.pool, self._worker
        pool.log.sent(isl_tokens)
        if self.direct:
            pool.computes = True
            pool.log.entered()
        if self._reserved_s is not None:
            pool.turnover.begun(now_s - self._reserved_s)
        if not streamed:
            if pool.mixes or self.direct:
                worker.ideal.prompts_s += pool.prompt_s(new_tokens)
            self._decode(now_s)
            if not worker.stale:
                pool.reload(worker)
            return
        if not hopeless:
            pool.hopeful_at_s = now_s
        if not worker.queued_tokens:
            worker.prompts.begin(now_s)
            worker.prompts.running_tokens = new_tokens
        self._queued_tokens = new_tokens
        worker.queue[self] = new_tokens
        worker.queued_tokens += new_tokens
        if self.direct:
            worker.direct_tokens += new_tokens
        pool.log.queued_tokens += new_tokens
        if not worker.stale:
            pool.reload(worker)

    def first_token(self, now_s: float) -> bool:
        """The prompt is prefilled, and the leg decodes. Returns whether that may make room."""
        if not self._queued_tokens:
            return False
        pool, worker = self.pool, self._worker
        pool.log.first_token(now_s - self.sent_s)
        self._dequeue()
        computed = pool.mixes or self.direct
        if computed:
            worker.ideal.prompts_s += pool.prompt_s(self._new_tokens)
        self._decode(now_s)
        return self.succeeded() or computed

    def reused(self, cached_tokens: int) -> None:
        """The engine says how much of the prompt it had: the rest is what took it its time."""
        if self._departed:
            self._new_tokens = max(1, self._isl_tokens - cached_tokens)

    def prefilled(self, now_s: float) -> None:
        """The prompt is prefilled, and that is all that the leg was for: it has ended well."""
        if not self._queued_tokens:
            return
        pool, worker = self.pool, self._worker
        pool.log.first_token(now_s - self.sent_s)
        pool.log.completed(0, None)
        last = worker.queued_tokens == self._queued_tokens
        seen = worker.prompts.done(pool.prompt_s(self._new_tokens), now_s, last=last)
        if seen is not None:
            pool.observe(worker, *seen)
        self._dequeue()
        worker.prompts.running_tokens = worker.queued_tokens
        if worker.failures:
            self.succeeded()
        self.release(now_s)

    def succeeded(self) -> bool:
        """It has answered. Returns whether that closed the worker's breaker."""
        worker = self._worker
        if not worker.failures or (worker.outlier and not self._probe):
            return False
        self._worker.succeed()
        self.pool.touch(self._worker)
        return True

    def completed(self, osl_tokens: int, itl_s: float | None, now_s: float) -> None:
        """The leg has ended well; `itl_s` is the mean gap between its tokens, if it was seen."""
        pool, worker = self.pool, self._worker
        if worker.failures:
            self.succeeded()
        pool.log.completed(osl_tokens, itl_s)
        if self._reserved_s is not None:
            pool.turnover.ended(now_s - self.sent_s)
        if pool.computes:
            computed = pool.mixes or self.direct
            pool.served(pool.prompt_s(self._new_tokens) if computed else 0.0, osl_tokens)
        if itl_s is not None and self._decoding:
            self._tell_pace(osl_tokens - 1, now_s)

    def put_out_tokens(self, now_s: float) -> float:
        """About how many tokens it has put out by now, at the pace that its worker is known by."""
        if not self._live or not self._decoding:
            return 0.0
        worker, taken_s = self._worker, now_s - self._since_s
        steps = worker.ideal.steps(now_s) - self._steps
        if taken_s <= 0.0 or steps <= 0.0:
            return 0.0
        decoded_s = taken_s / worker.pace - (worker.ideal.prompts_s - self._prompts_s)
        return max(0.0, decoded_s * steps / taken_s)

    def release(self, now_s: float) -> None:
        """Take everything off the worker."""
        if not self._live:
            return
        self._live = False
        pool, worker = self.pool, self._worker
        if self._departed:
            pool.log.in_flight -= 1
        if self._decoding:
            self._decoding = False
            worker.ideal.leave(self._kv_tokens, now_s)
        worker.kv_tokens -= self._kv_tokens
        worker.kv_spread -= self._kv_spread
        worker.in_flight -= 1
        if self._queued_tokens:
            worker.prompts.begin(now_s)  # Nobody knows how much of this one was done.
            self._dequeue()
            worker.prompts.running_tokens = worker.queued_tokens
        elif not worker.stale:
            pool.reload(worker)
        if self._probe:
            worker.probing = False
            pool.touch(worker)

    def _dequeue(self) -> None:
        pool, worker, tokens = self.pool, self._worker, self._queued_tokens
        del worker.queue[self]
        worker.queued_tokens -= tokens
        if self.direct:
            worker.direct_tokens -= tokens
        pool.log.queued_tokens -= tokens
        self._queued_tokens = 0
        if not worker.stale:
            pool.reload(worker)

    def _decode(self, now_s: float) -> None:
        ideal = self._worker.ideal
        self._steps = ideal.join(self._kv_tokens, now_s)
        self._decoding = True
        self._since_s = now_s
        self._prompts_s = ideal.prompts_s

    def _tell_pace(self, tokens: int, now_s: float) -> None:
        """Tokens since the first one, each out of an iteration, and prompts in between."""
        ideal = self._worker.ideal
        taken_s = now_s - self._since_s
        steps = ideal.steps(now_s) - self._steps
        if taken_s <= 0.0 or steps <= 0.0:
            return
        expected_s = ideal.prompts_s - self._prompts_s + tokens * taken_s / steps
        weight = tokens / _TELLING_TOKENS if tokens < _TELLING_TOKENS else 1.0
        self.pool.observe(self._worker, taken_s / expected_s, weight)
