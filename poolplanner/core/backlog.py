"""What is queued at a pool, in seconds of one replica; None if nobody can tell."""

from collections.abc import Mapping

from poolplanner.core.capacity import CapacityTable
from poolplanner.core.load import ClassShape
from poolplanner.core.observation import Observation
from weir.domain.fleet import Role
from weir.domain.ids import ClassName
from weir.sizing.capacity import prefill_backlog_s

__all__ = ["backlog_replica_s"]


def backlog_replica_s(
    table: CapacityTable,
    observation: Observation,
    shapes: Mapping[ClassName, ClassShape],
    *,
    ready: int,
) -> float | None:
    """Seconds that one replica needs for what is queued; None if nobody can tell.

    Prefill: prompt tokens that no iteration of the `ready` replicas has begun on. Decode:
    sequences that wait, or that run beyond what the replicas hold within ITL. In an aggregated
    pool the larger of both.
    """
    role = table.spec.role
    prefill_s = _queued_prefill_s(table, observation, ready) if role is not Role.DECODE else None
    decode_s = None
    if role is not Role.PREFILL:
        decode_s = _queued_decode_s(table, observation, shapes, ready)
    return max((seconds for seconds in (prefill_s, decode_s) if seconds is not None), default=None)


def _queued_prefill_s(table: CapacityTable, observation: Observation, ready: int) -> float | None:
    """Routers count prompts until they are done, engines until an iteration takes them.

    So what fits into an iteration of each replica is at work: it needs no further one.
    """
    counts = []
    queued_tokens = _queued_tokens(observation)
    if queued_tokens is not None:
        counts.append(max(0, queued_tokens - ready * table.profile.max_batched_tokens))
    if observation.engines is not None and observation.engines.waiting_tokens is not None:
        counts.append(observation.engines.waiting_tokens)
    return prefill_backlog_s(table.profile, max(counts)) if counts else None


def _queued_tokens(observation: Observation) -> int | None:
    """As the routers count them. What is hopeless waits for slack, not for replicas."""
    if observation.queued_tokens is None:
        return None
    return max(0, observation.queued_tokens - observation.hopeless_queued_tokens)


def _queued_decode_s(
    table: CapacityTable,
    observation: Observation,
    shapes: Mapping[ClassName, ClassShape],
    ready: int,
) -> float | None:
    """Engines know what waits there; without them the routers' count of sequences has to do.

    What waits at the routers comes on top: they give an engine no more than it can run.
    """
    engines, held = observation.engines, 0.0
    if table.spec.role is Role.DECODE:
        held = _held_sequences(observation, shapes)
    if engines is not None:
        sequences, waiting, workers = (
            engines.running + engines.waiting + held,
            engines.waiting + held,
            engines.workers,
        )
    elif observation.in_flight is not None:
        sequences, waiting, workers = observation.in_flight + held, held, ready
    else:
        return None
    if sequences == 0:
        return 0.0
    work = table.mean_work(shapes)
    if work is None:
        return None
    request_s, batch = work
    return max(0.0, waiting, sequences - workers * batch) * request_s


def _held_sequences(observation: Observation, shapes: Mapping[ClassName, ClassShape]) -> float:
    """Sequences whose prompts the routers count as queued for this pool."""
    share = sum(shape.share for shape in shapes.values())
    queued_tokens = _queued_tokens(observation)
    if not queued_tokens or share <= 0.0:
        return 0.0
    isl_tokens = sum(shape.share * shape.isl_tokens for shape in shapes.values()) / share
    return queued_tokens / max(1.0, isl_tokens)
