"""A pool's replicas under any grants, crashes and lost answers, driven as the service drives it."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from poolplanner.core.pace import Pace
from poolplanner.core.replicas import Replica, ReplicaState
from weir.domain.ids import PoolId, WorkerId
from weir.domain.planning import Grant

UNSETTLED_S = 10.0
VALID_S = 15.0


@dataclass
class World:
    """The actuator and what it runs. Starts may be answered late or never, and happen late."""

    pace: Pace
    replicas: dict[WorkerId, ReplicaState] = field(default_factory=dict)
    late: list[float] = field(default_factory=list)
    announced: frozenset[WorkerId] = frozenset()
    newest: tuple[int, int] = (0, 0)
    newest_replicas: int = 0
    expires_at_s: float = -1.0
    now_s: float = 0.0
    names: int = 0

    def run(self) -> WorkerId:
        worker_id = WorkerId(f"r{self.names}")
        self.names += 1
        self.replicas[worker_id] = ReplicaState.STARTING
        return worker_id

    def listing(self) -> list[Replica]:
        return [
            Replica(id=worker_id, state=state, in_flight=None)
            for worker_id, state in self.replicas.items()
        ]

    def offer(self, grant: Grant, sent_at_s: float) -> None:
        pair = (grant.term, grant.epoch)
        assert (self.pace.offer(grant, sent_at_s=sent_at_s) is None) == (pair >= self.newest)
        if pair >= self.newest:
            expires_at_s = sent_at_s + grant.valid_s
            renewed = max(self.expires_at_s, expires_at_s)
            self.expires_at_s = renewed if pair == self.newest else expires_at_s
            self.newest, self.newest_replicas = pair, grant.replicas

    def tick(self, *, publish: bool, fate: str) -> None:
        listing = self.listing()
        self.pace.see(listing, self.now_s)
        steps = self.pace.step(listing, self.now_s)
        before = dict(self.replicas)
        if publish:
            self.pace.announced(self.now_s)
        for worker_id in steps.stop:
            if before[worker_id] is ReplicaState.READY:
                assert worker_id in self.announced, "stopped while routers could still send to it"
            self.replicas[worker_id] = ReplicaState.TERMINATING
        self.announced = self.pace.draining if publish else self.announced & self.pace.draining
        for _ in range(steps.start):
            assert self.now_s < self.expires_at_s, "started under an expired grant"
            assert len(self.replicas) + len(self.late) < self.newest_replicas, "over the grant"
            self._start(fate)

    def _start(self, fate: str) -> None:
        if fate == "refused":
            return
        if fate == "late":
            self.late.append(self.now_s + UNSETTLED_S / 2)
            self.pace.started(None, self.now_s)
        elif fate == "unanswered":
            self.run()
            self.pace.started(None, self.now_s)
        else:
            self.pace.started(self.run(), self.now_s)

    def advance(self, step_s: float) -> None:
        self.now_s += step_s
        for _ in [at_s for at_s in self.late if at_s <= self.now_s]:
            self.run()
        self.late = [at_s for at_s in self.late if at_s > self.now_s]


def _grant(term: int, epoch: int) -> Grant:
    """Replicas follow from the pair, as a planner that keeps its word would have it."""
    replicas = (term * 7 + epoch * 5) % 6
    return Grant(pool_id=PoolId("chat"), term=term, epoch=epoch, replicas=replicas, valid_s=VALID_S)


@dataclass(frozen=True)
class Round:
    """One interval of the planner: perhaps a grant, things that happen, a tick."""

    grant: tuple[int, int, float] | None
    """Term, epoch, and how long ago the report was sent."""
    crash: int | None
    ready: int | None
    gone: int | None
    publish: bool
    fate: str
    pause_s: float


MAYBE = st.none() | st.integers(0, 7)
ROUNDS = st.builds(
    Round,
    grant=st.none() | st.tuples(st.integers(1, 3), st.integers(1, 6), st.floats(0.0, 20.0)),
    crash=MAYBE,
    ready=MAYBE,
    gone=MAYBE,
    publish=st.booleans(),
    fate=st.sampled_from(["ok", "refused", "late", "unanswered"]),
    pause_s=st.floats(0.1, 6.0),
)
CHANGES = {
    "crash": (ReplicaState.READY, ReplicaState.STARTING),
    "ready": (ReplicaState.STARTING, ReplicaState.READY),
    "gone": (ReplicaState.TERMINATING, None),
}


def _play(world: World, step: Round) -> None:
    if step.grant is not None:
        term, epoch, ago_s = step.grant
        world.offer(_grant(term, epoch), world.now_s - ago_s)
    for name, (before, after) in CHANGES.items():
        which: int | None = getattr(step, name)
        found = [worker_id for worker_id, state in world.replicas.items() if state is before]
        if which is None or not found:
            continue
        worker_id = found[which % len(found)]
        if after is None:
            del world.replicas[worker_id]
        else:
            world.replicas[worker_id] = after
    world.tick(publish=step.publish, fate=step.fate)
    world.advance(step.pause_s)


@settings(max_examples=300)
@given(st.integers(0, 7), st.lists(ROUNDS, max_size=25))
def test_never_beyond_the_grant_and_always_to_it_when_things_are_quiet(
    running: int, rounds: list[Round]
) -> None:
    world = World(Pace(max_replicas=8, settle_s=1.0, unsettled_s=UNSETTLED_S))
    for _ in range(running):
        world.replicas[world.run()] = ReplicaState.READY
    for step in rounds:
        _play(world, step)
    _quiet(world)


def _quiet(world: World) -> None:
    """Grants are renewed, messages arrive, replicas do as they are told."""
    for i in range(40):
        world.offer(_grant(4, 1), world.now_s)
        world.tick(publish=True, fate="ok")
        world.advance(1.0)
        for worker_id, state in list(world.replicas.items()):
            if state is ReplicaState.TERMINATING and i % 3 == 0:
                del world.replicas[worker_id]
            elif state is ReplicaState.STARTING:
                world.replicas[worker_id] = ReplicaState.READY
    wanted = _grant(4, 1).replicas
    assert list(world.replicas.values()) == [ReplicaState.READY] * wanted
    assert world.pace.draining == frozenset()
