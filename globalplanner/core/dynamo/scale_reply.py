"""What has become of a scale request by now."""

from collections.abc import Mapping
from dataclasses import dataclass

from globalplanner.core.dynamo.scale_request import ScaleReply, ScaleStatus
from weir.domain.fleet import Stage
from weir.domain.ids import PoolId
from weir.domain.planning import PoolState

__all__ = ["Stand", "refusal", "reply_to", "seen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """A pool now. `granted` counts what has been sent; `state` is None if it was never seen."""

    component: Stage
    decided: int
    granted: int
    state: PoolState | None
    why: str

    @property
    def present(self) -> int | None:
        """Replicas that run or start; those that leave are none of them."""
        return self.state.ready + self.state.starting if self.state is not None else None


def reply_to(
    asked: Mapping[PoolId, int], stands: Mapping[PoolId, Stand], *, blocking: bool
) -> ScaleReply:
    """Success if all of it is granted and, for a caller that waits, ready; scaling if not yet.

    `stands`: all pools of the deployment.
    """
    ordered = sorted(asked.items(), key=lambda item: stands[item[0]].component)
    done = all(_done(replicas, stands[id], blocking=blocking) for id, replicas in ordered)
    return ScaleReply(
        status=ScaleStatus.SUCCESS if done else ScaleStatus.SCALING,
        message="; ".join(_line(replicas, stands[id]) for id, replicas in ordered),
        current_replicas=seen(stands),
    )


def refusal(status: ScaleStatus, why: str, stands: Mapping[PoolId, Stand]) -> ScaleReply:
    """Nothing has changed."""
    return ScaleReply(status=status, message=why, current_replicas=seen(stands))


def seen(stands: Mapping[PoolId, Stand]) -> dict[Stage, int]:
    """Replicas last seen, by component."""
    return {
        stand.component: stand.present for stand in stands.values() if stand.present is not None
    }


def _now(replicas: int, stand: Stand) -> int:
    """How far the pool has come from what it had to `replicas`."""
    return stand.decided if stand.decided > replicas else min(stand.decided, stand.granted)


def _done(replicas: int, stand: Stand, *, blocking: bool) -> bool:
    state = stand.state
    ready = state is not None and (state.ready, state.starting) == (replicas, 0)
    return _now(replicas, stand) == replicas and (ready or not blocking)


def _line(replicas: int, stand: Stand) -> str:
    now = _now(replicas, stand)
    notes = [_shown(replicas, stand.state)]
    if now == replicas:
        text = f"{stand.component} {replicas}"
    else:
        text = f"{stand.component} {now} for now, {replicas} asked for"
        notes.append(stand.why)
    shown = ", ".join(note for note in notes if note)
    return f"{text} ({shown})" if shown else text


def _shown(replicas: int, state: PoolState | None) -> str:
    """What is seen of it, unless that is just what is asked for."""
    if state is None:
        return "never seen"
    if (state.ready, state.starting, state.terminating) == (replicas, 0, 0):
        return ""
    return f"{state.ready} ready, {state.starting} starting, {state.terminating} leaving"
