"""Who is to have more than it gets, and what stands in the way."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from globalplanner.core.budget.account import Account
from globalplanner.core.budget.limits import Limit
from weir.domain.ids import PoolId

__all__ = ["Denial", "denials"]


class Denial(StrEnum):
    """A closed set: the values are labels of a metric."""

    LIMIT = "limit"
    """One more GPU under a limit would be of use, and there is none."""

    RELEASE = "release"
    """What the pool is to get is still held by others."""

    UNKNOWN = "unknown"
    """Of somebody it is not known what may be running there, so that counts as the maximum."""

    WRITE = "write"
    """The grant waits until the record holds it."""

    WITHDRAWN = "withdrawn"
    """The pool says that it cannot start more."""

    APPROVAL = "approval"
    """The decision waits for a person, or is advice only."""


def denials(
    accounts: Mapping[PoolId, Account],
    limits: Sequence[Limit],
    wanted: Mapping[PoolId, int],
    prices: Mapping[str, float],
) -> frozenset[tuple[str, Denial]]:
    """Pool ids and limits' names, each with what it is denied for.

    `wanted`: what the last decision came to, let or not. `prices`: its prices by limit.
    """
    found = {(name, Denial.LIMIT) for name, price in prices.items() if price > 0.0}
    unknown = [any(not accounts[id].known for id in limit.pools) for limit in limits]
    releasing = [
        any(accounts[id].charged > accounts[id].granted for id in limit.pools) for limit in limits
    ]
    for id, account in accounts.items():
        if account.granted < account.target:
            over = [i for i, limit in enumerate(limits) if id in limit.pools]
            found.add(
                (id, _why(account, any(unknown[i] for i in over), any(releasing[i] for i in over)))
            )
        elif account.newest is not account.sendable:
            found.add((id, Denial.WRITE))
        if wanted.get(id, 0) > account.target:
            found.add((id, Denial.APPROVAL))
    return frozenset(found)


def _why(account: Account, unknown: bool, releasing: bool) -> Denial:
    if account.report is not None and account.report.withdrawn:
        return Denial.WITHDRAWN
    if account.report is None or unknown:
        return Denial.UNKNOWN
    return Denial.RELEASE if releasing else Denial.LIMIT
