"""What a change would come to: the arbiter decides with and without it, on what is known now."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from globalplanner.core.arbiter.arbitrate import arbitrate
from globalplanner.core.arbiter.demand import served_by, streams_of
from globalplanner.core.arbiter.served import by_class, change_lines
from globalplanner.core.arbiter.snapshot import Memory, PoolView, Rules, Snapshot
from weir.domain.ids import ClassName, PoolId

__all__ = ["Effect", "predict"]

_MOST_DECISIONS = 4
"""After so many in a row the outcome is near enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a change comes to. `applied`: it has been made; else it is only predicted.

    Values are weighted requests/s within SLO, as classes weigh after the change; rates are
    requests/s within SLO, of the classes of which something is offered. Both are empty (0) while
    nobody knows what is offered. `lines`: for a person.
    """

    applied: bool = False
    lines: tuple[str, ...] = ()
    value_before: float = 0.0
    value_after: float = 0.0
    served_before_rps: Mapping[ClassName, float] = field(default_factory=dict)
    served_after_rps: Mapping[ClassName, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    replicas: Mapping[PoolId, int]
    served_rps: Mapping[ClassName, float]
    value: float


def predict(before: Snapshot, after: Snapshot, rules: Rules) -> Effect:
    """Where the arbiter would settle on `before` and on `after`, at the same demand.

    It takes as long as some decisions do: ask in a thread if that matters.
    """
    first, then = _settled(before, after, rules), _settled(after, after, rules)
    lines = list(_replica_lines(first, then))
    if after.loads is None:
        lines.append(f"what would be served is not known: {after.holding}")
    else:
        offered = {name: load.rate_high_rps for name, load in after.loads.items()}
        lines += change_lines(first.served_rps, then.served_rps, offered)
    return Effect(
        lines=tuple(lines),
        value_before=first.value,
        value_after=then.value,
        served_before_rps=first.served_rps,
        served_after_rps=then.served_rps,
    )


def _settled(snapshot: Snapshot, weighing: Snapshot, rules: Rules) -> _Outcome:
    """What decisions lead to, without queued work, weighed as the classes of `weighing` are."""
    settled = replace(snapshot, pools=tuple(_caught_up(view) for view in snapshot.pools))
    memory = Memory()
    at_once = replace(rules, scale_down_dwell_s=0.0, leave_replicas=None, leave_share=None)
    replicas = {view.spec.id: view.replicas for view in snapshot.pools}
    for _ in range(_MOST_DECISIONS):
        decision = arbitrate(settled, at_once, memory)
        if decision.replicas == replicas:
            break
        replicas, memory = dict(decision.replicas), decision.memory
        settled = replace(
            settled,
            pools=tuple(replace(view, replicas=replicas[view.spec.id]) for view in settled.pools),
        )
    if snapshot.loads is None:
        return _Outcome(replicas=replicas, served_rps={}, value=0.0)
    worths = {(s.class_name, s.model): s.worth for s in streams_of(weighing)}
    entering = served_by(settled, rules, replicas)
    return _Outcome(
        replicas=replicas,
        served_rps=by_class(snapshot.loads, ((s.class_name, rate) for s, rate in entering)),
        value=sum(rate * worths.get((s.class_name, s.model), 0.0) for s, rate in entering),
    )


def _caught_up(view: PoolView) -> PoolView:
    """Without queued work; where nobody knows of any, that stays so."""
    return view if view.backlog_replica_s is None else replace(view, backlog_replica_s=0.0)


def _replica_lines(first: _Outcome, then: _Outcome) -> Iterator[str]:
    for pool_id, count in sorted(then.replicas.items()):
        known = first.replicas.get(pool_id, 0)
        if known != count:
            yield f"{pool_id}: {known} -> {count} replicas"
