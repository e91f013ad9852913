"""What the pool's engines tell of themselves, and what that says of those that are silent.

Samples may be lost, late or doubled; each counts once, and one that is older than `stale_s`
says nothing any more. A replica that is new is not measured until it is warm: its first
iterations load kernels and fill caches. Where it stands (running, waiting) counts at once.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from poolplanner.core.observation import EngineLoad
from weir.domain.ids import WorkerId
from weir.domain.telemetry import ForwardPassSample

__all__ = ["WARM_UP_S", "Engines", "bounds"]

WARM_UP_S = 30.0

_RESTART_S = 5.0
"""A sequence that begins again, this long after the last new sample, is another process."""
_FORGET_S = 3600.0
"""So long a silent engine is known: one that is heard again after an outage is not new."""
_MOST_UNREAD = 4096
_PROMPTS_S = 10.0
"""Prompts are counted in spans so long."""
_SUMS = ("running", "waiting", "waiting_tokens", "kv_used_tokens", "kv_total_tokens")


@dataclass(slots=True, kw_only=True)
class _Engine:
    at_s: float
    sample: ForwardPassSample
    warm_at_s: float


@dataclass(slots=True, kw_only=True)
class Engines:
    """The engines of one pool. Times are model seconds, never backwards.

    `memory_s`: what the hit rate and the accept length look back on.
    """

    stale_s: float
    memory_s: float = 300.0
    _engines: dict[WorkerId, _Engine] = field(default_factory=dict)
    _began_at_s: float | None = None
    _unread: deque[ForwardPassSample] = field(default_factory=lambda: deque(maxlen=_MOST_UNREAD))
    _prompts: deque[tuple[float, int, int]] = field(default_factory=deque)
    _cached: int = 0
    _computed: int = 0

    def began(self, now_s: float) -> None:
        """From now on engines would be heard; who is heard soon after it is not new."""
        if self._began_at_s is None:
            self._began_at_s = now_s

    def take(self, sample: ForwardPassSample, now_s: float) -> bool:
        """Take in one worker's sample; False if it says nothing new."""
        self.began(now_s)
        known = self._engines.get(sample.worker_id)
        restarted = False
        if known is not None and sample.sequence <= known.sample.sequence:
            if now_s - known.at_s < _RESTART_S:
                return False
            restarted = sample.sequence < known.sample.sequence
        if known is None or restarted:
            warm_at_s = now_s + WARM_UP_S if restarted or self._is_new(now_s) else now_s
        else:
            warm_at_s = known.warm_at_s
        self._engines[sample.worker_id] = _Engine(at_s=now_s, sample=sample, warm_at_s=warm_at_s)
        if now_s >= warm_at_s:
            self._unread.append(sample)
            self._count_prompts(sample, now_s)
        return True

    def passes(self) -> tuple[ForwardPassSample, ...]:
        """What warm engines have sent since the last call, each sample once."""
        unread = tuple(self._unread)
        self._unread.clear()
        return unread

    def newest(self, now_s: float) -> Sequence[ForwardPassSample]:
        """The newest sample of each engine that is not stale."""
        self._forget(now_s)
        return [e.sample for e in self._engines.values() if now_s - e.at_s <= self.stale_s]

    def hit_rate(self, now_s: float) -> float | None:
        """Share of prompt tokens that the prefix cache held, over the memory."""
        self._forget(now_s)
        total = self._cached + self._computed
        return self._cached / total if total > 0 else None

    def accept_length(self, now_s: float) -> float | None:
        """Mean of what each engine that tells has told last, over the memory.

        It is a matter of models and prompts, so engines that fall silent do not change it.
        """
        known = [
            e.sample.accept_length
            for e in self._engines.values()
            if e.sample.accept_length is not None and now_s - e.at_s <= self.memory_s
        ]
        return sum(known) / len(known) if known else None

    def _is_new(self, now_s: float) -> bool:
        """Whether one that was never heard before has only just begun."""
        return self._began_at_s is not None and now_s - self._began_at_s > self.stale_s

    def _count_prompts(self, sample: ForwardPassSample, now_s: float) -> None:
        if sample.cached_tokens is None or sample.prefill_tokens is None:
            return
        at_s, cached, computed = now_s, sample.cached_tokens, sample.prefill_tokens
        if self._prompts and now_s - self._prompts[-1][0] < _PROMPTS_S:
            at_s, before, computed_before = self._prompts.pop()
            cached, computed = cached + before, computed + computed_before
        self._prompts.append((at_s, cached, computed))
        self._cached += sample.cached_tokens
        self._computed += sample.prefill_tokens

    def _forget(self, now_s: float) -> None:
        while self._prompts and now_s - self._prompts[0][0] > self.memory_s:
            _, cached, computed = self._prompts.popleft()
            self._cached -= cached
            self._computed -= computed
        gone = [k for k, e in self._engines.items() if now_s - e.at_s > _FORGET_S]
        for worker_id in gone:
            del self._engines[worker_id]


def bounds(
    samples: Sequence[ForwardPassSample], *, ready: int | None, in_flight: int | None
) -> tuple[EngineLoad, EngineLoad] | None:
    """What the engines hold at least and at most; None if none of them is heard.

    Of `ready` engines those that are silent hold at least the requests that routers have at
    this pool (`in_flight`) and that the others do not hold; at most they are as loaded as the
    most loaded one that is heard, and hold those requests besides.
    """
    if not samples:
        return None
    heard = _load(samples)
    silent = max(0, (ready or 0) - len(samples))
    if not silent:
        return heard, heard
    elsewhere = max(0, (in_flight or 0) - heard.running - heard.waiting)
    least = heard
    if in_flight is not None:
        least = replace(heard, workers=heard.workers + silent, running=heard.running + elsewhere)
    worst = {name: _highest(getattr(s, name) for s in samples) for name in _SUMS}
    most = {name: _add(getattr(heard, name), worst[name], silent) for name in _SUMS}
    running, waiting = most.pop("running") or 0, most.pop("waiting") or 0
    waiting += max(0, (in_flight or 0) - running - waiting)
    return least, EngineLoad(
        workers=heard.workers + silent, running=running, waiting=waiting, **most
    )


def _load(samples: Sequence[ForwardPassSample]) -> EngineLoad:
    return EngineLoad(
        workers=len(samples),
        running=sum(s.running for s in samples),
        waiting=sum(s.waiting for s in samples),
        waiting_tokens=_sum(s.waiting_tokens for s in samples),
        kv_used_tokens=_sum(s.kv_used_tokens for s in samples),
        kv_total_tokens=_sum(s.kv_total_tokens for s in samples),
    )


def _sum(values: Iterable[int | None]) -> int | None:
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _highest(values: Iterable[int | None]) -> int | None:
    known = list(values)
    return None if None in known else max(value or 0 for value in known)


def _add(total: int | None, each: int | None, count: int) -> int | None:
    return None if total is None or each is None else total + count * each
