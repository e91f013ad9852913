"""Which pools the ledger has an account of, when the document changes."""

from dataclasses import replace

from globalplanner.core.budget.account import Account
from weir.domain.fleet import PoolSpec, Role
from weir.domain.ids import ModelName, PoolId
from weir.domain.planning import PoolReport
from weir.domain.profile import EngineProfile
from weir.domain.record import PoolLine

__all__ = ["believe", "join", "retire", "stranger"]


def join(accounts: dict[PoolId, Account], spec: PoolSpec, *, known: bool) -> None:
    """Let the pool be as the document has it, as soon as that is possible.

    `known`: whether a pool without an account can have no grant of an earlier leader.
    """
    account = accounts.get(spec.id)
    if account is None:
        target = spec.min_replicas
        unknown = 0 if known else spec.max_replicas
        accounts[spec.id] = Account(spec=spec, target=target, said="minimum", unknown=unknown)
        return
    account.misfit = _misfit(account, spec)
    if account.misfit:
        return
    if account.leaving:
        account.target = max(account.granted, spec.min_replicas)
    account.spec, account.leaving = spec, False
    if not account.known:
        account.unknown = max(account.unknown, spec.max_replicas)


def believe(account: Account, spec: PoolSpec, report: PoolReport) -> None:
    """Let the document count if the pool's first report agrees and nothing has said otherwise.

    But an earlier document, that is: one that was wrong when the record was lost.
    """
    supposed = account.report is None and account.charged == 0
    if supposed and report.gpus_per_replica == spec.gpus_per_replica:
        account.spec, account.misfit = spec, ""


def retire(account: Account) -> bool:
    """The document has the pool no more: it is to go. Whether it has gone."""
    if account.reserved == 0:
        return True
    none = replace(
        account.spec,
        min_replicas=0,
        max_replicas=0,
        floor_replicas=0,
        guarantee_replicas=0,
        borrow_replicas=None,
        lend_replicas=None,
    )
    account.spec, account.leaving, account.misfit = none, True, ""
    account.aim_because(0, "the document has this pool no more")
    return False


def stranger(line: PoolLine) -> PoolSpec:
    """All that is known of a pool that the document may have no more."""
    return PoolSpec(
        id=line.pool_id,
        role=Role.AGG,
        model=ModelName(""),
        gpus_per_replica=line.gpus_per_replica,
        node_group=line.node_group,
        gpu_class=line.gpu_class,
        power_w_per_gpu=line.power_w_per_gpu,
        min_replicas=0,
        max_replicas=0,
        floor_replicas=0,
        guarantee_replicas=0,
        weight=1.0,
        start_up_s=0.0,
        profile=EngineProfile(),
        context_limit_tokens=1,
    )


def _misfit(account: Account, spec: PoolSpec) -> str:
    """Why the pool cannot be as the document has it; empty if it can."""
    was = (account.spec.gpus_per_replica, account.spec.gpu_class, account.spec.node_group)
    now = (spec.gpus_per_replica, spec.gpu_class, spec.node_group)
    if was == now or account.reserved == 0:
        return ""
    return (
        f"{was[0]} x {was[1]} in {was[2]} became {now[0]} x {now[1]} in {now[2]} while replicas "
        "may be running: drain the pool, or give the new one another name"
    )
