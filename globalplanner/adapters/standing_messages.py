"""How things stand, as messages."""

from collections.abc import Iterator

from globalplanner.access.refusals import Refusals
from globalplanner.adapters.offers import Store
from globalplanner.standing import Change, Health, PoolStanding, Standing, Waiting
from weir import codec
from weir.api.v1 import planner_pb2

__all__ = ["health_message", "status_message"]


def status_message(standing: Standing, refusals: Refusals) -> planner_pb2.StatusResponse:
    return planner_pb2.StatusResponse(
        term=standing.term,
        leading=standing.term > 0,
        budget_gpus=standing.budget_gpus,
        charged_gpus=standing.charged_gpus,
        peak_charged_gpus=standing.peak_charged_gpus,
        budget_violations=standing.violations,
        pools=[_pool(pool, refusals) for pool in standing.pools],
        decisions=[_change(change) for change in standing.changes],
        plan=codec.encode_plan(standing.plan) if standing.plan else None,
        holding=standing.holding,
        mode=standing.mode,
        overrides=codec.encode_overrides(standing.overrides),
        proposals=[_proposal(waiting) for waiting in standing.proposals],
        limits=[
            planner_pb2.LimitStatus(
                name=limit.name, unit=limit.unit, most=limit.most, charged=limit.charged
            )
            for limit in standing.limits
        ],
        infeasible_classes=standing.infeasible,
    )


def health_message(health: Health, store: Store) -> planner_pb2.HealthResponse:
    return planner_pb2.HealthResponse(
        leading=health.leading,
        term=health.term,
        confirmed_age_s=store.confirmed_age_s(),
        store_connected=store.connected,
        growing=health.growing,
        traffic_age_s=health.traffic_age_s,
        report_age_s={str(id): age_s for id, age_s in health.report_age_s.items()},
        silent_pools=health.silent_pools,
        problem=health.problem or "; ".join(_problems(health, store)),
    )


def _proposal(waiting: Waiting) -> planner_pb2.Proposal:
    return planner_pb2.Proposal(
        id=waiting.proposal.id,
        at_unix_s=waiting.at_unix_s,
        changes=[
            planner_pb2.Decision(
                at_s=waiting.proposal.at_s,
                pool_id=change.pool_id,
                before_replicas=change.before,
                after_replicas=change.after,
                reason=change.reason,
            )
            for change in waiting.proposal.changes
        ],
    )


def _problems(health: Health, store: Store) -> Iterator[str]:
    """What keeps one that leads from doing all its work."""
    if not store.connected:
        yield "the store does not answer"
    elif not health.growing:
        yield "that it leads is not confirmed"
    if health.traffic_age_s is None:
        yield "no router has been heard"
    if health.silent_pools:
        yield f"silent: {', '.join(health.silent_pools)}"


def _pool(pool: PoolStanding, refusals: Refusals) -> planner_pb2.PoolStatus:
    refusal = refusals.of(pool.pool_id)
    refused = f"; newest report refused: {refusal.why}" if refusal is not None else ""
    return planner_pb2.PoolStatus(
        pool_id=pool.pool_id,
        granted_replicas=pool.granted,
        charged_gpus=pool.charged_gpus,
        state=codec.encode_state(pool.state) if pool.state else None,
        report_age_s=pool.report_age_s,
        reason=pool.reason + refused,
        wanted_replicas=pool.wanted,
    )


def _change(change: Change) -> planner_pb2.Decision:
    return planner_pb2.Decision(
        at_s=change.at_s,
        pool_id=change.pool_id,
        before_replicas=change.before,
        after_replicas=change.after,
        reason=change.reason,
        decision_id=change.decision_id,
    )
