"""One pool as this router sees it: its members, and the least loaded of them.

A worker that leaves the membership takes its load along; releasing a charge on it later harms
nobody.
"""

from collections.abc import Iterator
from math import inf
from operator import attrgetter, itemgetter

from router.core.request import Leg
from router.core.reuse.kept import Kept
from router.core.reuse.reuse import Reuse
from router.core.reuse.ties import Ties
from router.core.traffic import EjectionReason, PoolLog
from router.core.workers import outliers
from router.core.workers.charge import Charge
from router.core.workers.crowd import Crowd
from router.core.workers.outlook import Outlook
from router.core.workers.pace import Ideal
from router.core.workers.worker import Rank, Worker
from weir.domain.fleet import PoolSpec, Role
from weir.domain.ids import WorkerId
from weir.domain.planning import PoolMembers, WorkerEndpoint

__all__ = ["Pool"]

_FADING_STEP_S = 1.0
_WORKER_HALF_LIFE_S = 60.0
_POOL_HALF_LIFE_S = 120.0
_HOPEFUL_S = 30.0
"""For so long after a prompt that can be in time others of the kind are to be expected."""
_WINDOW_S = 60.0
"""For so long the failures of workers are compared with each other."""
_COLD = 4.0
"""What has just joined counts as so many times as loaded as it is."""
_LEFT_BY_HOPELESS = 4
"""Of so many workers one at least stays idle for those."""
_SAVED = 3
"""A cached token is worth as much time as so many: work that is done twice delays all that come
later, on engines that are two thirds busy by three times as long as it takes."""

_MANY = 32
"""Workers of more than so many are kept in order of rank, and fade one by one."""
_LOOKED_AT = 8
"""Of many workers so many at most are asked for KV space; they are the least loaded ones."""

_by_rank = attrgetter("rank")
_by_end = itemgetter(0)


class Pool(Outlook):
    """A pool's workers as they come and go, and which of them is next."""

    def __init__(self, spec: PoolSpec, *, slow_start_s: float = 0.0, direct: bool = False) -> None:
        """`direct`: prompts may come without a prefill leg, if it is a decode pool."""
        super().__init__(spec)
        self._slow_start_s = slow_start_s
        self._warm_rank = self.rank
        if slow_start_s:
            self.rank = self._cold_rank
        self.id = spec.id
        self.version = -1
        self.workers: dict[WorkerId, Worker] = {}
        self.log = PoolLog()
        self.reuse: Reuse | None = None
        """None if prompts leave nothing behind here that others could use."""
        self.kept: Kept | None = None
        """The same of a decode pool."""
        if spec.profile.prefix_caching:
            if spec.role is not Role.DECODE:
                tells = spec.kv_events is not None
                self.reuse = Reuse(spec.profile.kv_tokens, tells=tells)
            elif direct:
                self.reuse = self.kept = Kept(spec.profile.kv_tokens)
        self.others_queued_tokens = 0
        """Prompt tokens without a first token that other processes have sent there."""
        self.others_in_flight = 0
        self.sharers = 0
        """Other processes that have anything there."""
        self.hopeful_at_s = -inf
        """When a prompt that can be in time was last sent."""
        self._usable: list[Worker] = []
        self._recheck_at_s = -inf
        self._faded_at_s = self._fading_due_s = -inf
        self._best: Worker | None = None
        self._fresh = False
        self._stale: list[Worker] = []
        self._window_s = -inf
        self._touched: list[Worker] = []
        self._usual_at_s = -inf
        self._usual_s = 0.0
        """How long prompts wait at most workers, as of then."""
        self._crowd: Crowd | None = None
        """Of its workers, if they are many."""
        self._roster: list[Worker] = []
        self._faded = 0
        """How far in the roster."""

    # --- members -----------------------------------------------------------------------

    def apply(self, members: PoolMembers) -> bool:
        """Replace the membership; False if `members` has the version that is known.

        A worker that stays (same id and address) keeps its load; any other starts at zero.
        """
        if members.version == self.version:
            return False
        self.version = members.version
        before = self.workers
        self.workers = {w.id: self._kept(w) or self._new(w) for w in members.workers}
        self._roster = list(self.workers.values())
        self._crowd = None
        self._recheck_at_s = -inf
        if self.reuse is not None:
            for worker_id, worker in before.items():
                if self.workers.get(worker_id) is not worker:
                    self.reuse.forget(worker)
        return True

    def _kept(self, endpoint: WorkerEndpoint) -> Worker | None:
        worker = self.workers.get(endpoint.id)
        if worker is None:
            return None
        old = worker.endpoint
        if (old.host, old.port) != (endpoint.host, endpoint.port):
            return None
        worker.endpoint = endpoint
        return worker

    def _new(self, endpoint: WorkerEndpoint) -> Worker:
        return Worker(endpoint, Ideal(self.predictor.decode_s), self.pace)

    def touch(self, worker: Worker) -> None:
        """Its breaker has changed: look again whether it is usable."""
        self._touched.append(worker)
        self._recheck_at_s = -inf
        self._fresh = False

    def usable(self, now_s: float) -> list[Worker]:
        """Workers that may get a request now."""
        if now_s >= self._fading_due_s:
            self._fade(now_s)
        if now_s >= self._recheck_at_s:
            self._recheck(now_s)
        return self._usable

    def _recheck(self, now_s: float) -> None:
        if self._slow_start_s:
            self._note_joined(now_s)
        crowd = self._crowd
        if len(self._roster) > _MANY:
            if crowd is None:
                self._rank_anew()
                self._crowd = crowd = Crowd(self._roster, now_s)
            else:
                crowd.recheck(self._touched, now_s)
            self._usable, self._recheck_at_s = crowd.usable, crowd.next_probe_s
        else:
            self._usable = [w for w in self._roster if w.usable(now_s)]
            self._recheck_at_s = self._next_probe_s(now_s)
        self._touched.clear()
        self._fresh = False

    @property
    def asleep(self) -> bool:
        """Whether it is known to have no workers, as it may: requests that wait wake it."""
        return self.spec.min_replicas == 0 and self.version >= 0 and not self.workers

    def next_probe_s(self, now_s: float) -> float:
        """When the next ejected worker may be probed; infinity if none is ejected."""
        self.usable(now_s)
        return self._recheck_at_s

    def _next_probe_s(self, now_s: float) -> float:
        ejected = [w.ejected_until_s for w in self._roster if w.failures]
        return min((at_s for at_s in ejected if at_s > now_s), default=inf)

    # --- choice ------------------------------------------------------------------------

    def least_loaded(
        self, now_s: float, exclude: frozenset[WorkerId], kv_tokens: int = 0
    ) -> Worker | None:
        """The usable worker with the least load, the least used one among equals.

        It holds `kv_tokens` more, if there is one that does.
        """
        usable = self.usable(now_s)
        if self._stale:
            self._rank_anew()
        if self._crowd is not None:
            return self._least_of_many(self._crowd, exclude, kv_tokens)
        if exclude:
            usable = [w for w in usable if w.endpoint.id not in exclude]
            best = min(usable, key=_by_rank, default=None)
        else:
            if not self._fresh:
                self._best = min(usable, key=_by_rank, default=None)
                self._fresh = True
            best = self._best
        if kv_tokens and best is not None and not self.holds(best, kv_tokens):
            return min((w for w in usable if self.holds(w, kv_tokens)), key=_by_rank, default=best)
        return best

    def _least_of_many(
        self, crowd: Crowd, exclude: frozenset[WorkerId], kv_tokens: int
    ) -> Worker | None:
        """The same; a worker that holds so much is looked for among the next few."""
        if exclude:
            most = len(exclude) + 1
            best = crowd.first(lambda w: w.endpoint.id not in exclude, most)
        else:
            best = crowd.least()
        if not kv_tokens or best is None or self.holds(best, kv_tokens):
            return best

        def suits(worker: Worker) -> bool:
            return self.holds(worker, kv_tokens) and worker.endpoint.id not in exclude

        return crowd.first(suits, _LOOKED_AT) or best

    def by_reuse(
        self,
        least_loaded: Worker,
        ties: Ties,
        isl_tokens: int,
        now_s: float,
        exclude: frozenset[WorkerId],
    ) -> list[tuple[float, int, Worker]]:
        """Workers with what they are expected to have of a prompt, the best one first.

        By the seconds until it would be done there, less what its place in the queue is worth to
        those that come after it. They end with the least loaded one, as the last resort; of
        others as good only the worker of its session comes before that.
        """
        reuse, token_s = self.reuse, 1.0 / self.predictor.prefill_rate
        if reuse is None:
            alone_s = least_loaded.pace * isl_tokens * token_s
            return [(self.busy_s(least_loaded) + alone_s, 0, least_loaded)]
        cached = reuse.cached_tokens(least_loaded, ties, isl_tokens, now_s)
        new_tokens = isl_tokens - _SAVED * cached
        last_s = self.busy_s(least_loaded) + least_loaded.pace * new_tokens * token_s
        home = reuse.home(ties, now_s)
        better = []
        for worker, tokens in reuse.candidates(ties, isl_tokens, now_s).items():
            worker_id = worker.endpoint.id
            if worker is least_loaded or worker_id in exclude:
                continue
            new_tokens = isl_tokens - _SAVED * tokens
            done_s = self.busy_s(worker) + worker.pace * new_tokens * token_s
            if done_s > last_s or (done_s == last_s and worker is not home):
                continue
            if self.workers.get(worker_id) is worker and worker.usable(now_s):
                better.append((done_s, tokens, worker))
        if len(better) > 1:
            better.sort(key=_by_end)
        better.append((last_s, cached, least_loaded))
        return better

    def keepers(
        self, ties: Ties, isl_tokens: int, now_s: float, exclude: frozenset[WorkerId]
    ) -> Iterator[tuple[Worker, int]]:
        """Decode workers that may have something of the prompt, and how much."""
        if self.kept is None:
            return
        for worker, tokens in self.kept.candidates(ties, isl_tokens, now_s).items():
            worker_id = worker.endpoint.id
            if worker_id in exclude or self.workers.get(worker_id) is not worker:
                continue
            if worker.usable(now_s):
                yield worker, tokens

    def keeps(self, ties: Ties | None, isl_tokens: int, now_s: float) -> int:
        """How much of the prompt some decode worker may have."""
        if self.kept is None or ties is None:
            return 0
        return self.kept.most_cached_tokens(ties, isl_tokens, now_s)

    def reload(self, worker: Worker) -> None:
        """The worker's load has changed. Nothing to do for one that is `stale` already."""
        if not worker.stale:
            worker.stale = True
            self._stale.append(worker)

    def _rank_anew(self) -> None:
        """The best stays the best while it only gets less, and nobody else less than it has."""
        best, rank_of, crowd = self._best, self.rank, self._crowd
        if crowd is not None:
            for worker in self._stale:
                worker.stale = False
                rank = rank_of(worker)
                if rank != worker.rank:
                    worker.rank = rank
                    crowd.changed(worker)
            self._stale.clear()
            return
        for worker in self._stale:
            worker.stale = False
            before, rank = worker.rank, rank_of(worker)
            worker.rank = rank
            if worker is best:
                if rank > before:
                    self._fresh = False
            elif best is None or rank < best.rank:
                self._fresh = False
        self._stale.clear()

    # --- slow start --------------------------------------------------------------------

    def _note_joined(self, now_s: float) -> None:
        for worker in self._roster:
            if worker.joined_s == inf:
                worker.joined_s = now_s

    def _cold_rank(self, worker: Worker) -> Rank:
        """What a cold worker has counts for more, so that it gets less; an idle one is idle."""
        load, *others = self._warm_rank(worker)
        warm_s = min(self._slow_start_s, max(0.0, self._faded_at_s - worker.joined_s))
        cold = 1.0 - warm_s / self._slow_start_s
        return load * (1.0 + (_COLD - 1.0) * cold), others[0], others[1], others[2]

    # --- pace --------------------------------------------------------------------------

    def _fade(self, now_s: float) -> None:
        """What was seen counts less with time, so that who gets nothing is tried again.

        Of many workers one at a time, so that all of them take a second or longer.
        """
        roster, age_s = self._roster, now_s - self._faded_at_s
        many = len(roster) > _MANY
        if age_s >= _FADING_STEP_S or not many:
            self._faded_at_s = now_s
            self.fade(0.5 ** (age_s / _POOL_HALF_LIFE_S))
        if many:
            self._fading_due_s = now_s + _FADING_STEP_S / len(roster)
            self._faded = (self._faded + 1) % len(roster)
            worker = roster[self._faded]
            since_s = worker.faded_at_s
            keep = 0.5 ** ((now_s - since_s) / _WORKER_HALF_LIFE_S) if since_s > -inf else 1.0
            self._fade_worker(worker, keep, now_s)
            return
        self._fading_due_s = now_s + _FADING_STEP_S
        keep = 0.5 ** (age_s / _WORKER_HALF_LIFE_S)
        for worker in roster:
            self._fade_worker(worker, keep, now_s)

    def _fade_worker(self, worker: Worker, keep: float, now_s: float) -> None:
        worker.faded_at_s = now_s
        worker.observed.fade(keep)
        worker.pace = worker.observed.given(self.pace)
        if not worker.stale:
            self.reload(worker)
        if worker.queue and outliers.may_be_stuck(worker, now_s):
            self._eject_stuck(worker, now_s)

    def idle_first_s(self, isl_tokens: int) -> float:
        """Seconds to the first token of a prompt that nobody is before."""
        return self.pace * self.predictor.prefill_s(isl_tokens)

    def idle_itl_s(self, kv_tokens: int) -> float:
        """Seconds between tokens of a sequence of so many that decodes alone."""
        return self.pace * self.predictor.decode_s(1, kv_tokens)

    @property
    def queued_tokens(self) -> int:
        """Prompt tokens at its engines, whoever has sent them."""
        return self.log.queued_tokens + self.others_queued_tokens

    @property
    def crowded(self) -> bool:
        """Whether a batch or more is queued for each of its workers."""
        return self.queued_tokens >= self.predictor.batch_tokens * len(self.workers)

    def takes_hopeless(self, now_s: float) -> bool:
        """Whether one more prompt that cannot be in time leaves idle workers to those that can."""
        if now_s - self.hopeful_at_s > _HOPEFUL_S:
            return True
        usable = self.usable(now_s)
        idle = sum(not worker.queued_tokens for worker in usable)
        return idle > max(min(1, len(usable) - 1), len(usable) // _LEFT_BY_HOPELESS)

    # --- room that others have ------------------------------------------------------------

    def _is_due_prefill(self) -> bool:
        return self.log.queued_tokens * (1 + self.sharers) < self.others_queued_tokens

    def _is_due_decode(self) -> bool:
        others = self.others_in_flight
        if not others:
            return False
        own = sum(worker.in_flight for worker in self._roster) - others
        return own * (1 + self.sharers) < others

    # --- capacity ----------------------------------------------------------------------

    @property
    def serving(self) -> int:
        """Its workers but those that drain, whatever their breakers say."""
        return sum(not w.endpoint.draining for w in self.workers.values())

    def capacity(self) -> float:
        """Relative capacity of its members, to share load by when there is no plan."""
        predictor = self.predictor
        decode = self.spec.role is Role.DECODE
        return self.serving * (predictor.decode_rate if decode else predictor.prefill_rate)

    # --- charges -----------------------------------------------------------------------

    def charge(
        self,
        endpoint: WorkerEndpoint,
        kv_tokens: int = 0,
        kv_spread: int = 0,
        reserved_s: float | None = None,
    ) -> Charge:
        """Put a request on a worker; the charge takes it off again.

        A worker that has left meanwhile is charged out of sight.
        """
        worker = self.workers.get(endpoint.id) or self._new(endpoint)
        return Charge(self, worker, kv_tokens, kv_spread, reserved_s)

    def remember(self, leg: Leg, ties: Ties, isl_tokens: int, now_s: float) -> None:
        """The leg is sent: its worker will have the prompt."""
        worker = self.workers.get(leg.worker.id)
        if worker is not None and self.reuse is not None:
            self.reuse.sent(worker, ties, isl_tokens, leg.cached_tokens, now_s)

    def decoded(self, leg: Leg, ties: Ties, isl_tokens: int) -> None:
        """A request has ended well there, and is charged no more."""
        worker = self.workers.get(leg.worker.id)
        if worker is not None and self.kept is not None:
            self.kept.decoded(worker, ties, isl_tokens)

    def stays(self, session: str, leg: Leg, tokens: int) -> None:
        """A request of the session has ended well: its KV there is this much now."""
        worker = self.workers.get(leg.worker.id)
        if worker is not None and self.reuse is not None:
            self.reuse.sessions.grown(session, worker, tokens)

    def forget(self, worker_id: WorkerId) -> None:
        """Nobody listens there: whoever does later has nothing of what was sent there."""
        worker = self.workers.get(worker_id)
        if worker is not None and self.reuse is not None:
            self.reuse.forget(worker)

    def fail(self, worker_id: WorkerId, now_s: float) -> None:
        """A request failed on the worker: open its breaker, for long if it fails often."""
        worker = self.workers.get(worker_id)
        if worker is None:
            return
        if now_s >= self._window_s + _WINDOW_S:
            self._window_s = now_s
            outliers.begin_window(self._roster)
        if worker.fail(now_s):
            worker.errors += 1
            reason = EjectionReason.FAILURE
            roster = self._roster
            if outliers.fails_often(worker, roster) and outliers.may_leave(worker, roster):
                reason = EjectionReason.ERRORS
                worker.terms += 1
                worker.outlier = True
                worker.eject(now_s + outliers.span_s(worker.terms))
            self.log.ejections[reason] += 1
        self.touch(worker)

    def _eject_stuck(self, worker: Worker, now_s: float) -> None:
        roster, queue_s = self._roster, self.prefill_s(worker, 0)
        if now_s >= self._usual_at_s + _FADING_STEP_S:
            self._usual_at_s, self._usual_s = now_s, outliers.usual_wait_s(roster, now_s)
        if worker.failures or not outliers.is_stuck(worker, self._usual_s, queue_s, now_s):
            return
        if outliers.may_leave(worker, roster):
            worker.eject(now_s + outliers.span_s(1))
            self.log.ejections[EjectionReason.STUCK] += 1
            self.touch(worker)
