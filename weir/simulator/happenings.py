"""What the events file tells besides what policies and faults tell: replicas and requests.

Attach only where somebody reads it: it looks at all replicas of a pool whenever one changes.
"""

from typing import TYPE_CHECKING

from weir.domain.ids import WorkerId
from weir.simulator.call import Call, End
from weir.simulator.cluster import PoolOfReplicas
from weir.simulator.policies.port import Policy
from weir.simulator.replica import Phase

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["Happenings"]


class Happenings:
    """Notes each change of a replica's phase and each request's end in the world's journal."""

    def __init__(self, world: "World", policy: Policy) -> None:
        self._world = world
        self._classes = [str(c.name) for c in world.fleet.classes]
        self._phases: dict[WorkerId, Phase] = {}
        self._of_pool: dict[str, set[WorkerId]] = {str(id): set() for id in world.cluster.pools}
        for pool in world.cluster.pools.values():
            self._changed(pool)
        world.cluster.on_change.append(self._changed)
        world.on_end.append(self._ended)

    def _changed(self, pool: PoolOfReplicas) -> None:
        known = self._of_pool[str(pool.spec.id)]
        for id, replica in pool.replicas.items():
            if self._phases.get(id) is not replica.phase:
                self._phases[id] = replica.phase
                known.add(id)
                self._note(pool, id, replica.phase)
        for id in sorted(known - pool.replicas.keys()):
            known.remove(id)
            del self._phases[id]
            self._note(pool, id, Phase.GONE)

    def _note(self, pool: PoolOfReplicas, id: WorkerId, phase: Phase) -> None:
        self._world.journal.note(
            self._world.now_s, "replica", pool=pool.spec.id, replica=id, phase=phase.name.lower()
        )

    def _ended(self, call: Call, end: End) -> None:
        first_s = call.first_s
        self._world.journal.note(
            self._world.now_s,
            "end",
            request=call.id,
            outcome=end.name.lower(),
            arrived_s=round(call.arrived_s, 6),
            isl=call.isl_tokens,
            osl=call.osl_tokens,
            ttft_s=None if first_s is None else round(first_s - call.arrived_s, 6),
            attempts=call.attempts,
            prefill=None if call.prefill is None else call.prefill.id,
            decode=None if call.decode is None else call.decode.id,
            **{"class": self._classes[call.class_index]},
        )
