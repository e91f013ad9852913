"""Forward-pass metrics, aggregated beside each engine and sent to its pool's planner."""

from typing import NamedTuple

from weir.domain.ids import WorkerId
from weir.domain.telemetry import ForwardPassSample
from weir.engine.run import Totals
from weir.simulator.cluster import PoolOfReplicas
from weir.simulator.process import Process
from weir.simulator.replica import Phase, Replica
from weir.simulator.roles.plane import Plane

__all__ = ["ForwardPasses"]


class _Counts(NamedTuple):
    preemptions: int = 0
    prefill_iterations: int = 0
    cached_tokens: int = 0


class ForwardPasses:
    """One pool's meters; begin with `publish`."""

    def __init__(self, plane: Plane, pool: PoolOfReplicas) -> None:
        self._plane = plane
        self._pool = pool
        self._process = Process(f"engines-{pool.spec.id}")
        self._process.start()
        self._interval_s = plane.world.settings.forward_pass_interval_s
        self._sequence = 0
        self._seen: dict[WorkerId, tuple[float, Totals, _Counts]] = {}

    def publish(self, _: object = None) -> None:
        """Send a sample of every engine that runs, and again each interval."""
        plane = self._plane
        if plane.world.over:
            return
        target, take = plane.on_forward_pass[self._pool.spec.id]
        self._sequence += 1
        seen, self._seen = self._seen, {}
        for replica in self._pool.replicas.values():
            if replica.phase is not Phase.STARTING:
                sample = self._sample(replica, seen)
                plane.network.send_value(self._process, target, "forward-pass", take, sample)
        plane.world.events.after(self._interval_s, self.publish)

    def _sample(
        self, replica: Replica, seen: dict[WorkerId, tuple[float, Totals, _Counts]]
    ) -> ForwardPassSample:
        now_s = self._plane.world.now_s
        ready_s = replica.ready_at_s or now_s
        run, model = replica.run, replica.run.model
        totals = run.totals(now_s)
        if model.iteration is not None:
            under_way_s = now_s - model.iteration.start_s
            totals = totals._replace(busy_s=totals.busy_s - under_way_s)
        at_s, before, old = seen.get(replica.id, (ready_s, Totals(0, 0.0, 0, 0), _Counts()))
        new = _Counts(model.preemptions, model.prefill_iterations, model.prefix_hit_tokens)
        self._seen[replica.id] = (now_s, totals, new)
        return ForwardPassSample(
            pool_id=self._pool.spec.id,
            worker_id=replica.id,
            sequence=self._sequence,
            window_s=now_s - at_s,
            iterations=totals.iterations - before.iterations,
            busy_s=max(0.0, totals.busy_s - before.busy_s),
            prefill_tokens=totals.prefill_tokens - before.prefill_tokens,
            decode_tokens=totals.decode_tokens - before.decode_tokens,
            running=model.running,
            waiting=model.waiting,
            waiting_tokens=model.pending_tokens,
            kv_used_tokens=model.kv_used_tokens,
            kv_total_tokens=model.kv_total_tokens,
            preemptions=new.preemptions - old.preemptions,
            cached_tokens=new.cached_tokens - old.cached_tokens,
            prefill_iterations=new.prefill_iterations - old.prefill_iterations,
        )
